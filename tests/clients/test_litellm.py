"""lyn → LiteLLM's proxy → lyn: a server that others wrote, between both ends of ours."""

import json
import os
import socket
import subprocess
import time
import urllib.request

import pytest

from conftest import LYN, TOOLS

# The proxy starts with a key only: ours travels as any user's would.
KEY = "sk-between-two-lyns"
PATIENCE_S = 180


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def proxy(server, tmp_path):
    config = tmp_path / "config.yaml"
    parameters = {"model": "openai/stories", "api_base": server.base_url, "api_key": "none"}
    config.write_text(json.dumps({"model_list": [{"model_name": "story-teller", "litellm_params": parameters}]}))
    port = free_port()
    command = [TOOLS / "venv/bin/litellm", "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, "LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with open(TOOLS / "litellm.log", "wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            end = time.monotonic() + PATIENCE_S
            while True:
                assert process.poll() is None and time.monotonic() < end, f"see {TOOLS / 'litellm.log'}"
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=5)
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def generate(*flags, **env):
    command = [LYN, "generate", "--temperature", "0", "--max-tokens", "24", "--json", *flags, "Tell me a story about a dog"]
    ran = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_same_story_through_the_proxy(proxy):
    here, there = generate(), generate("--upstream", proxy, LYN_UPSTREAM_KEY=KEY)
    assert there["text"] == here["text"] and there["finish_reason"] == here["finish_reason"]
    for count in ("prompt_tokens", "completion_tokens"):
        assert there["usage"][count] == here["usage"][count]
