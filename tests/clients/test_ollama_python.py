"""Ollama's Python client: chat and generate, streams, forms, thoughts, tool loops, what is known of models, errors."""

import json
from typing import Literal

import ollama
import pydantic
import pytest

STORY = [{"role": "user", "content": "Tell me a story about a cat."}]
MODEL = "deepseek-chat"
OPTIONS = {"num_predict": 16, "temperature": 0, "num_ctx": 2048, "seed": 3, "top_k": 20.0}


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(host=server.url, timeout=120)


def ask(client, **fields):
    return client.chat(**{"model": MODEL, "messages": STORY, "options": OPTIONS, **fields})


def weather(city: str) -> str:
    """The weather.

    Args:
        city: the city
    """
    return f"sunny in {city}"


def test_whole_and_streamed_say_the_same(client):
    whole = ask(client, keep_alive="5m")
    parts = list(ask(client, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content and whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    for end in (whole, parts[-1]):
        assert end.done_reason == "length" and end.eval_count == 16 and end.prompt_eval_count and end.total_duration


def test_generate(client):
    asked = {"model": MODEL, "prompt": STORY[0]["content"], "options": OPTIONS}
    whole = client.generate(**asked).response
    assert whole == ask(client).message.content
    assert "".join(part.response for part in client.generate(**asked, stream=True)) == whole
    assert client.generate(**asked, system="Be kind.", suffix="").response
    assert client.generate(model=MODEL, prompt="Once upon", raw=True, options=OPTIONS).response
    assert client.generate(model=MODEL, prompt="").done_reason == "load"


class Cat(pydantic.BaseModel):
    colour: Literal["red", "blue"]


def test_forms(client):
    long = {"options": {"num_predict": 300, "temperature": 0}}
    assert ask(client, format="").message.content == ask(client).message.content
    answer = ask(client, format="json", **long)
    assert answer.done_reason == "length" or isinstance(json.loads(answer.message.content), dict)
    Cat.model_validate_json(ask(client, format=Cat.model_json_schema(), **long).message.content)
    answer = client.generate(model=MODEL, prompt="A cat.", format=Cat.model_json_schema(), **long)
    Cat.model_validate_json(answer.response)


@pytest.mark.parametrize("think", [True, "low", "medium", "high"])
def test_thoughts(client, think):
    assert ask(client, think=think).message.thinking
    assert not ask(client, model="deepseek-reasoner", think=False).message.thinking


def test_stops(client):
    whole = ask(client).message.content
    cut = ask(client, options={**OPTIONS, "stop": [whole[8:12]]})
    assert cut.done_reason == "stop" and cut.message.content == whole[: whole.index(whole[8:12])]


def test_a_tool_loop(client):
    """As the client's own examples write it: calls without ids, results by the name of the tool."""
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    for calls in ([call], [call, call]):
        results = [{"role": "tool", "tool_name": "weather", "content": weather("Oslo")} for _ in calls]
        messages = [*STORY, {"role": "assistant", "content": "", "tool_calls": calls}, *results]
        assert ask(client, messages=messages, tools=[weather]).done
    first = ask(client, tools=[weather])
    results = [{"role": "tool", "tool_name": call.function.name, "content": "sunny"} for call in first.message.tool_calls or []]
    assert ask(client, messages=[*STORY, first.message, *results, *STORY], tools=[weather]).done


def test_models(client):
    assert {MODEL, "deepseek-reasoner"} <= {model.model for model in client.list().models}
    shown = client.show(MODEL)
    assert {"completion", "tools"} <= set(shown.capabilities)
    family = shown.modelinfo["general.architecture"]
    assert shown.modelinfo[f"{family}.context_length"] == 2048
    assert client.ps().models[0].context_length == 2048
    assert client.pull(MODEL).status == "success"


def test_errors_are_plain_words(client):
    image = [{"role": "user", "content": "x", "images": ["aGk="]}]
    for call, words in [
        (lambda: ask(client, messages=image), "images are not supported"),
        (lambda: ask(client, messages=[{"role": "user", "content": "cat " * 5000}]), "context"),
        (lambda: client.embed(model=MODEL, input="A cat."), "embeddings"),
        (lambda: client.show("llama3"), "llama3.*not found"),
        (lambda: client.delete(MODEL), "lyn serves the model"),
    ]:
        with pytest.raises(ollama.ResponseError, match=words) as wrong:
            call()
        assert not wrong.value.error.startswith("{")
