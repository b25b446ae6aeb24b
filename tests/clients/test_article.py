"""The two programs of the article that made people ask for this: only URL, key and model differ from what it prints."""

import json
import os
import subprocess

import pytest
import requests

MODELS = ["deepseek-v3.2-exp", "DeepSeek-V3.2-Exp-thinking", "DeepSeek-V3.2-Exp-nothinking"]


@pytest.mark.parametrize("model", MODELS)
def test_curl(server, model):
    # The variable of the key is not set: curl sends `Bearer ` and nothing more.
    command = f"""
curl --location --request POST '{server.url}/v1/chat/completions' \\
  --header "Authorization: Bearer $cometapi_API_KEY" \\
  --header 'Content-Type: application/json' \\
  --data-raw '{{
    "model": "{model}",
    "messages": [
      {{"role": "system", "content": "You are a helpful assistant."}},
      {{"role": "user", "content": "Summarize the attached meeting transcript in 3 bullet points."}}
    ],
    "max_tokens": 512,
    "temperature": 0.7,
    "stream": false
  }}'
"""
    output = subprocess.run(["sh", "-c", command], capture_output=True, timeout=120, check=True).stdout
    answer = json.loads(output)
    assert answer["model"] == model
    message = answer["choices"][0]["message"]
    assert message["content"] or message.get("reasoning_content")
    assert ("reasoning_content" in message) == model.endswith("-thinking")


def test_requests(server):
    # `API_KEY = os.environ` is what the article has: the whole environment becomes the token.
    API_KEY = os.environ
    headers = {
        "Authorization": f"Bearer {str(API_KEY)[:8000]}",
        "Content-Type": "application/json",
    }
    payload = {
        "model": "deepseek-v3.2-exp",
        "messages": [{"role": "user", "content": "Write a story about a boat."}],
        "max_tokens": 800,
        "stream": False,
    }
    # The base URL has no /v1 there.
    response = requests.post(f"{server.url}/chat/completions", headers=headers, json=payload, timeout=120)
    response.raise_for_status()
    answer = response.json()
    assert len(answer["choices"][0]["message"]["content"]) > 20
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_streaming_with_usage(server):
    payload = {
        "model": "DeepSeek-V3.2-Exp-thinking",
        "messages": [{"role": "user", "content": "Tell me a story about a cat."}],
        "max_tokens": 40,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    response = requests.post(f"{server.url}/v1/chat/completions", json=payload, timeout=120, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.iter_lines(decode_unicode=True) if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 40
    thought = "".join(c["choices"][0]["delta"].get("reasoning_content") or "" for c in chunks[:-1])
    assert len(thought) > 20
