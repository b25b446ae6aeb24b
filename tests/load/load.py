"""128 mixed clients against `lyn serve` for a minute: every dialect, whole and streamed, forms, helper routes, bodies that
never end, clients that leave and clients that do not read.

What each request must answer is asked for first, alone; an answer under load that differs is a wrong token. Prints one
line a figure, and fails on a wrong token, on memory that is not given back, on descriptors that are left open.
"""

import argparse
import asyncio
import collections
import json
import os
import pathlib
import random
import re
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORY = "Once upon a time there was a {} who liked to {}."
WHO = ["cat", "dog", "girl", "boy", "bird", "fox", "bear", "frog"]
WHAT = ["run", "sing", "jump", "play", "sleep", "eat cake", "draw", "swim"]
FORM = {
    "type": "object",
    "properties": {"colour": {"enum": ["black", "white"]}, "age": {"type": "integer", "minimum": 1, "maximum": 20}},
    "required": ["colour", "age"],
    "additionalProperties": False,
}


class Kind:
    """A request and how its answer is read."""

    def __init__(self, name, path, body, read, stream=False):
        self.name, self.path, self.body, self.read, self.stream = name, path, body, read, stream


def events(text):
    """Data of server-sent events."""
    for line in text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])


def chat_stream(text):
    return "".join(c["delta"].get("content") or "" for e in events(text) for c in e["choices"])


def completion_stream(text):
    return "".join(c["text"] for e in events(text) for c in e["choices"])


def messages_stream(text):
    return "".join(e["delta"].get("text", "") for e in events(text) if e["type"] == "content_block_delta")


def ollama_stream(text):
    return "".join(json.loads(line)["message"]["content"] for line in text.splitlines() if line)


def kinds():
    """Every kind of request, with several prompts each."""
    made = []
    for who, what in zip(WHO, WHAT):
        prompt = STORY.format(who, what)
        ask = [{"role": "user", "content": prompt}]
        chat = {"model": "deepseek-chat", "messages": ask, "temperature": 0, "max_tokens": 24}
        form = {"type": "json_schema", "json_schema": {"name": "cat", "schema": FORM}}
        text = {"model": "deepseek-chat", "prompt": prompt, "temperature": 0, "max_tokens": 24}
        anthropic = {"model": "claude", "messages": ask, "temperature": 0, "max_tokens": 24}
        ollama = {"model": "stories", "messages": ask, "options": {"temperature": 0, "num_predict": 24}}
        sampled = {**chat, "temperature": 1, "seed": 7, "logprobs": True, "top_logprobs": 2}
        made += [
            Kind("chat", "/v1/chat/completions", chat, lambda t: json.loads(t)["choices"][0]["message"]["content"]),
            Kind("chat stream", "/v1/chat/completions", {**chat, "stream": True}, chat_stream, True),
            Kind("chat sampled", "/v1/chat/completions", {**sampled, "stream": True}, chat_stream, True),
            Kind("form", "/v1/chat/completions", {**chat, "max_tokens": 60, "response_format": form},
                 lambda t: json.loads(t)["choices"][0]["message"]["content"]),
            Kind("text", "/v1/completions", text, lambda t: json.loads(t)["choices"][0]["text"]),
            Kind("text stream", "/v1/completions", {**text, "stream": True}, completion_stream, True),
            Kind("messages", "/v1/messages", anthropic, lambda t: json.loads(t)["content"][0]["text"]),
            Kind("messages stream", "/v1/messages", {**anthropic, "stream": True}, messages_stream, True),
            Kind("ollama", "/api/chat", {**ollama, "stream": False}, lambda t: json.loads(t)["message"]["content"]),
            Kind("ollama stream", "/api/chat", ollama, ollama_stream, True),
            Kind("tokenize", "/tokenize", {"content": prompt * 200}, lambda t: len(json.loads(t)["tokens"])),
        ]
    return made


class Http:
    """As much of HTTP/1.1 as the server answers: a length, or chunks."""

    def __init__(self, port):
        self.port = port

    async def post(self, kind, leave=None, slow=False):
        """Status, text, seconds to the first byte of the body. `leave`: after so many bytes the client is gone."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            body = json.dumps(kind.body).encode()
            head = f"POST {kind.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            began = time.monotonic()
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split(" ", 2)[1])
            text, first = b"", None
            while True:
                piece = await reader.read(300 if slow else 65536)
                if not piece:
                    break
                first = first or time.monotonic() - began
                text += piece
                if leave is not None and len(text) > leave:
                    return None, "", first
                if slow:
                    await asyncio.sleep(0.05)
            if "transfer-encoding: chunked" in head.lower():
                text = unchunked(text)
            return status, text.decode(), first
        finally:
            writer.close()

    async def unfinished(self):
        """A body that stops in the middle."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                         b"Content-Length: 4000000\r\n\r\n" + b" " * 2000000)
            await writer.drain()
            await asyncio.sleep(2)
        finally:
            writer.close()


def unchunked(data):
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        whole, data = whole + data[:length], data[length + 2:]
    return whole


def memory(pid):
    """Resident MiB: now, and at most so far."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


async def client(http, chosen, expected, until, seed, told):
    draw = random.Random(seed)
    while time.monotonic() < until:
        kind = draw.choice(chosen)
        way = draw.random()
        try:
            if way < 0.02:
                await http.unfinished()
                told["unfinished"] += 1
                continue
            leave = draw.randrange(2000) if way < 0.1 else None
            status, text, first = await http.post(kind, leave, slow=0.1 <= way < 0.13)
        except (OSError, asyncio.IncompleteReadError) as error:
            told[f"connection: {type(error).__name__}"] += 1
            continue
        if status is None:
            told["left"] += 1
        elif status in (429, 503):
            told["told to wait"] += 1
            await asyncio.sleep(0.5 + draw.random())
        elif status != 200:
            told[f"status {status}"] += 1
        else:
            told["answered"] += 1
            if kind.stream:
                told["first"] = max(told["first"], first)
            if kind.read(text) != expected[kind]:
                told["wrong"] += 1
                print(f"WRONG {kind.name}: expected {expected[kind]!r}, found {kind.read(text)!r}", file=sys.stderr)


async def run(arguments, pid, port):
    http, chosen, expected = Http(port), kinds(), {}
    for kind in chosen:
        status, text, _ = await http.post(kind)
        if status != 200:
            sys.exit(f"{kind.name} alone: status {status}: {text[:300]}")
        expected[kind] = kind.read(text)
    await asyncio.sleep(2)
    idle, open_before = memory(pid)[0], descriptors(pid)
    told = collections.Counter(first=0.0)
    until = time.monotonic() + arguments.seconds
    clients = [client(http, chosen, expected, until, seed, told) for seed in range(arguments.clients)]
    await asyncio.gather(*clients)
    # Descriptors and memory are given back soon after the last client has gone.
    for _ in range(30):
        await asyncio.sleep(1)
        final, open_after = memory(pid)[0], descriptors(pid)
        if open_after <= open_before and final < 2 * idle:
            break
    wrong, first = told.pop("wrong", 0), told.pop("first")
    peak = memory(pid)[1]
    print(f"clients         {arguments.clients} for {arguments.seconds} s")
    print("requests        " + ", ".join(f"{count} {what}" for what, count in sorted(told.items())))
    print(f"wrong tokens    {wrong}")
    print(f"first token     {first:.2f} s at worst")
    print(f"memory          {idle:.0f} MiB idle, {peak:.0f} at most, {final:.0f} at the end")
    print(f"descriptors     {open_before} idle, {open_after} at the end")
    strange = [what for what in told if what.startswith(("status", "connection"))]
    faults = [
        ("wrong tokens", wrong > 0),
        ("no answer", told["answered"] == 0),
        ("memory is not given back", final >= 2 * idle),
        ("descriptors are left open", open_after > open_before + 4),
        (", ".join(strange), bool(strange)),
    ]
    failed = [what for what, is_fault in faults if is_fault]
    if failed:
        sys.exit("failed: " + "; ".join(failed))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=128)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--lyn", default=str(ROOT / "target/release/lyn"))
    arguments = parser.parse_args()
    command = [arguments.lyn, "serve", "--port", "0", "--parallel", "8", "--max-queue", "128"]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    try:
        port = None
        while True:
            line = (await asyncio.wait_for(server.stderr.readline(), 120)).decode()
            if not line:
                sys.exit("the server did not start")
            if found := re.search(r"listening on http://[^:]+:(\d+)", line):
                port = int(found[1])
            if port and line.startswith("model "):
                break
        drain = asyncio.create_task(server.stderr.read())
        await run(arguments, server.pid, port)
        if server.returncode is not None:
            sys.exit(f"the server ended with {server.returncode}")
        drain.cancel()
    finally:
        if server.returncode is None:
            server.terminate()
            await server.wait()


asyncio.run(main())
