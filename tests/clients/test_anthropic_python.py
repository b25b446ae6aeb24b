"""Anthropic's Python SDK: messages, streams, tool loops, structured output, prefill, errors, models."""

import json
from typing import Literal

import anthropic
import pydantic
import pytest

STORY = [{"role": "user", "content": "Tell me a story about a cat."}]
MODEL = "claude-sonnet-4-5"
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a place",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Oslo", "Rome"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 5},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def client(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0, timeout=120)


def ask(client, **fields):
    more = {name: fields.pop(name) for name in ("temperature", "top_k") if name in fields}
    return client.messages.create(**{"model": MODEL, "messages": STORY, "max_tokens": 32, "extra_body": more, **fields})


def test_whole_and_streamed_say_the_same(client):
    whole = ask(client, temperature=0)
    with client.messages.stream(model=MODEL, messages=STORY, max_tokens=32, extra_body={"temperature": 0}) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text == whole.content[0].text and text
    assert final.stop_reason == whole.stop_reason
    count = lambda usage: (usage.input_tokens + (usage.cache_read_input_tokens or 0), usage.output_tokens)  # noqa: E731
    assert count(final.usage) == count(whole.usage)
    assert whole._request_id


def test_events_come_in_order(client):
    kinds = [event.type for event in ask(client, stream=True, thinking={"type": "enabled", "budget_tokens": 1024})]
    deltas = [kind for kind in kinds if kind not in ("content_block_delta", "ping")]
    assert deltas[:2] == ["message_start", "content_block_start"]
    assert deltas[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_stop_sequences(client):
    whole = ask(client, temperature=0).content[0].text
    stop = whole[12:16]
    cut = ask(client, temperature=0, stop_sequences=["never said", stop])
    assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", stop)
    assert cut.content[0].text == whole[: whole.index(stop)]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_loop(client, choice):
    """The SDK's own objects go back, with all their nulls."""
    tools = {"tools": [WEATHER], "max_tokens": 300}
    answer = ask(client, tool_choice={**choice, "disable_parallel_tool_use": True}, **tools)
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert answer.stop_reason == "tool_use" and call.input["city"] in ("Oslo", "Rome") and 1 <= call.input["days"] <= 5
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "Sunny"}]}
    messages = [*STORY, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert ask(client, messages=messages, tool_choice={"type": "none"}, tools=[WEATHER]).stop_reason != "tool_use"


def test_a_streamed_call_is_the_whole_one(client):
    options = {"tools": [WEATHER], "tool_choice": {"type": "any"}, "max_tokens": 300, "extra_body": {"temperature": 0}}
    with client.messages.stream(model=MODEL, messages=STORY, **options) as stream:
        inputs = [event for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    whole = client.messages.create(model=MODEL, messages=STORY, **options)
    calls = lambda message: [(block.name, block.input) for block in message.content if block.type == "tool_use"]  # noqa: E731
    assert inputs and calls(final) == calls(whole) and calls(whole)


def test_a_cut_call_is_no_call(client):
    for most in (8, 16, 24, 32):
        answer = ask(client, tools=[WEATHER], tool_choice={"type": "any"}, max_tokens=most)
        for block in answer.content:
            assert block.type != "tool_use" or set(block.input) == {"city", "days"}
            assert block.type != "text" or "｜" not in block.text


class Cat(pydantic.BaseModel):
    name: Literal["Tom", "Lily"]
    age: int


def test_structured_output(client):
    answer = client.messages.parse(model=MODEL, messages=STORY, max_tokens=300, output_format=Cat)
    assert isinstance(answer.parsed_output, Cat)
    schema = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"], "additionalProperties": False}
    answer = ask(client, max_tokens=60, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(answer.content[0].text) == {"a": "x"}


def test_a_begun_answer_goes_on(client):
    whole = ask(client, temperature=0).content[0].text
    begun = [*STORY, {"role": "assistant", "content": whole[: whole.index(" ")]}]
    assert ask(client, temperature=0, messages=begun).content[0].text.startswith(whole[whole.index(" ") :][:8])


def test_thoughts_go_back(client):
    answer = ask(client, max_tokens=600, thinking={"type": "adaptive"}, output_config={"effort": "low"})
    assert answer.content[0].type == "thinking" and answer.content[0].signature
    history = [{"type": "redacted_thinking", "data": "x"}, *answer.content]
    messages = [*STORY, {"role": "assistant", "content": history}, {"role": "user", "content": "More."}]
    assert ask(client, messages=messages).content


def test_counting(client):
    counted = client.messages.count_tokens(model=MODEL, messages=STORY, system="Be kind.", tools=[WEATHER])
    usage = ask(client, system="Be kind.", tools=[WEATHER], max_tokens=1).usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_errors_are_the_sdk_s_own(client):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    for fields, words in [
        ({"messages": [{"role": "user", "content": [image]}]}, "image"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"messages": [{"role": "user", "content": "cat " * 5000}]}, "prompt is too long: .* tokens > 2048 maximum"),
    ]:
        with pytest.raises(anthropic.BadRequestError, match=words) as wrong:
            ask(client, **fields)
        assert wrong.value.body["type"] == "error" and wrong.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nope")


def test_models(client):
    page = client.models.list()
    assert page.data[0].type == "model" and page.data[0].created_at
    assert client.models.retrieve("deepseek-chat").display_name


def test_keys(locked_server):
    wrong = anthropic.Anthropic(base_url=locked_server.url, api_key="sk-wrong-0123456789", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as refused:
        ask(wrong)
    assert refused.value.body["error"]["type"] == "authentication_error"
    for key in ({"api_key": "sk-lyn-0123456789"}, {"auth_token": "sk-lyn-0123456789", "api_key": None}):
        assert ask(anthropic.Anthropic(base_url=locked_server.url, max_retries=0, **key), max_tokens=4).content
