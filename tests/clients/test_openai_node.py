"""OpenAI's Node SDK; the assertions are in `openai_node.test.mjs`."""

import os
import pathlib
import subprocess

from conftest import TOOLS

HERE = pathlib.Path(__file__).parent


def test_node(server):
    # Modules are looked for beside the script: it runs where they were installed.
    script = TOOLS / "openai_node.test.mjs"
    script.write_text((HERE / script.name).read_text())
    env = {**os.environ, "BASE_URL": server.base_url}
    ran = subprocess.run(["node", "--test", script], cwd=TOOLS, env=env, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
