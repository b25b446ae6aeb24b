"""OpenAI's Python SDK: streaming, reasoning, tools, parse, errors, retries, models."""

import json
from typing import Literal

import openai
import pydantic
import pytest
from openai import OpenAI

from conftest import serve

STORY = [{"role": "user", "content": "Tell me a story about a cat."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 5},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location", "days", "unit"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def client(server):
    return OpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=120)


def ask(client, **fields):
    return client.chat.completions.create(**{"model": "deepseek-chat", "messages": STORY, "max_tokens": 32, **fields})


def test_whole_and_streamed_say_the_same(client):
    whole = ask(client, temperature=0)
    chunks = list(ask(client, temperature=0, stream=True, stream_options={"include_usage": True}))
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content and text
    counted = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.completion_tokens for usage in counted] == [whole.usage.completion_tokens]
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_thoughts_come_before_the_answer(client):
    chunks = list(ask(client, model="deepseek-reasoner", temperature=0, max_tokens=300, stream=True))
    kinds = ["thought" if c.choices[0].delta.model_extra.get("reasoning_content") else "answer" for c in chunks[1:-1]]
    assert kinds == sorted(kinds, reverse=True) and kinds[0] == "thought"
    whole = ask(client, model="deepseek-reasoner", temperature=0, max_tokens=300)
    thought = "".join(c.choices[0].delta.model_extra.get("reasoning_content") or "" for c in chunks)
    assert whole.choices[0].message.model_extra["reasoning_content"] == thought
    assert whole.usage.completion_tokens_details.reasoning_tokens > 0


def test_the_body_beats_the_model_s_name(client):
    thinks = ask(client, extra_body={"thinking": {"type": "enabled"}})
    assert "reasoning_content" in thinks.choices[0].message.model_extra
    silent = ask(client, model="deepseek-reasoner", extra_body={"thinking": {"type": "disabled"}})
    assert "reasoning_content" not in (silent.choices[0].message.model_extra or {})
    assert silent.model == "deepseek-reasoner"


def test_a_second_request_is_read_from_the_cache(client):
    long = [{"role": "system", "content": "You tell stories. " * 40}, *STORY]
    first, second = (ask(client, messages=long, temperature=0) for _ in range(2))
    hits = second.usage.prompt_tokens_details.cached_tokens
    assert hits > 0 and hits % 64 == 0
    assert second.usage.model_extra["prompt_cache_hit_tokens"] == hits
    assert first.choices[0].message.content == second.choices[0].message.content


def test_a_seed_repeats_an_answer(client):
    texts = [ask(client, temperature=1.2, seed=seed).choices[0].message.content for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


def test_several_answers_and_logprobs(client):
    answer = ask(client, n=2, temperature=1, logprobs=True, top_logprobs=3, max_tokens=8)
    assert [choice.index for choice in answer.choices] == [0, 1]
    for choice in answer.choices:
        for entry in choice.logprobs.content:
            top = [other.logprob for other in entry.top_logprobs]
            assert len(top) == 3 and top == sorted(top, reverse=True) and top[0] <= 0


def test_stop_texts(client):
    whole = ask(client, temperature=0, max_tokens=64).choices[0].message.content
    stop = whole[20:24]
    cut = ask(client, temperature=0, max_tokens=64, stop=[stop, "never said"])
    assert cut.choices[0].message.content == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_forced_call_is_valid(client, choice):
    for seed in range(3):
        answer = ask(client, tools=[WEATHER], tool_choice=choice, temperature=1.5, seed=seed, max_tokens=400)
        call = answer.choices[0].message.tool_calls[0]
        arguments = json.loads(call.function.arguments)
        assert call.function.name == "get_weather" and call.id.startswith("call_")
        assert answer.choices[0].finish_reason == "tool_calls"
        assert list(arguments) == ["location", "days", "unit"]
        assert 1 <= arguments["days"] <= 5 and arguments["unit"] in ("celsius", "fahrenheit")


def test_a_streamed_call_joins_to_the_whole_one(client):
    options = {"tools": [WEATHER], "tool_choice": "required", "temperature": 1.2, "seed": 1, "max_tokens": 400}
    whole = ask(client, **options).choices[0].message.tool_calls
    chunks = [chunk for chunk in ask(client, **options, stream=True) if chunk.choices]
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    for index, call in enumerate(whole):
        parts = [delta for delta in deltas if delta.index == index]
        assert parts[0].function.name == call.function.name and parts[0].function.arguments == ""
        assert "".join(part.function.arguments or "" for part in parts) == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_tool_loop(client):
    """The results of calls go back as the SDK's own objects, re-serialised with all their nulls."""
    messages = list(STORY)
    answer = ask(client, messages=messages, tools=[WEATHER], tool_choice="required", temperature=0, max_tokens=400)
    messages.append(answer.choices[0].message)
    for call in answer.choices[0].message.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "Sunny"})
    after = ask(client, messages=messages, tools=[WEATHER], tool_choice="none")
    assert after.choices[0].message.tool_calls is None
    # Histories that were cut between a call and its result are served.
    cut = ask(client, messages=[*messages[:2], {"role": "user", "content": "Well?"}], tools=[WEATHER], tool_choice="none")
    assert cut.choices[0].message.content


class Cat(pydantic.BaseModel):
    name: Literal["Tom", "Lily"]
    age: int = pydantic.Field(ge=1, le=20)
    colours: list[Literal["black", "white"]] = pydantic.Field(max_length=3)


def test_parse(client):
    answer = client.chat.completions.parse(
        model="deepseek-chat",
        messages=STORY,
        response_format=Cat,
        temperature=1.5,
        max_tokens=600,
        seed=3,
    )
    assert isinstance(answer.choices[0].message.parsed, Cat)


def test_json_object(client):
    asked = [{"role": "user", "content": "A cat as json."}]
    for seed in range(4):
        answer = ask(client, messages=asked, response_format={"type": "json_object"}, temperature=1.5, seed=seed, max_tokens=500)
        if answer.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(answer.choices[0].message.content), dict)
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        ask(client, response_format={"type": "json_object"})


def test_prefix_completion_and_fim(server, client):
    beta = OpenAI(base_url=f"{server.url}/beta", api_key="none", max_retries=0)
    answer = ask(
        beta,
        messages=[*STORY, {"role": "assistant", "content": "Once upon a time, a cat", "prefix": True}],
        temperature=0,
    )
    assert answer.choices[0].message.content and not answer.choices[0].message.content.startswith("Once upon")
    text = client.completions.create(model="deepseek-chat", prompt="Once upon a time", max_tokens=16, temperature=0)
    assert text.object == "text_completion" and text.choices[0].text


def test_errors_are_the_sdk_s_own(client):
    with pytest.raises(openai.BadRequestError, match="Model Not Exist") as unknown:
        ask(client, model="gpt-nothing")
    assert unknown.value.request_id
    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(client, temperature=2.1)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")
    with pytest.raises(openai.BadRequestError) as long:
        ask(client, messages=[{"role": "user", "content": "story " * 5000}])
    assert long.value.code == "context_length_exceeded"
    assert {"deepseek-chat", "deepseek-reasoner"} <= {model.id for model in client.models.list()}


def test_keys(locked_server):
    with pytest.raises(openai.AuthenticationError) as wrong:
        ask(OpenAI(base_url=locked_server.base_url, api_key="sk-wrong-0123456789", max_retries=0))
    assert "6789" in str(wrong.value) and "sk-wrong" not in str(wrong.value)
    right = OpenAI(base_url=locked_server.base_url, api_key="sk-lyn-0123456789", max_retries=0)
    assert ask(right, max_tokens=4).usage.completion_tokens == 4


def test_a_full_server_is_asked_again():
    """The SDK waits as `Retry-After` says, and succeeds."""
    with serve("--parallel", "1", "--max-queue", "1") as small:
        client = OpenAI(base_url=small.base_url, api_key="none", max_retries=8)
        streams = [ask(client, stream=True, max_tokens=150, temperature=0) for _ in range(2)]
        with pytest.raises((openai.InternalServerError, openai.RateLimitError)) as full:
            ask(client.with_options(max_retries=0))
        assert full.value.response.headers["retry-after"]
        for stream in streams:
            list(stream)
        assert ask(client).choices[0].message.content
