"""Servers to ask: `lyn serve` with the built-in model, each on a port of its own."""

import contextlib
import json
import os
import pathlib
import subprocess
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LYN = ROOT / "target" / "debug" / "lyn"
TOOLS = ROOT / "target" / "clients"
# Loading and the self-check take seconds on a software adapter; more means that something hangs.
PATIENCE_S = 120


class Server:
    def __init__(self, process, url):
        self.process = process
        self.url = url

    @property
    def base_url(self):
        return f"{self.url}/v1"

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return json.load(response)


@contextlib.contextmanager
def serve(*flags, env=None):
    command = [LYN, "serve", "--json", "--port", "0", "--no-page", "--context", "2048", *flags]
    log = open(TOOLS / "serve.log", "ab")
    keys = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**keys, **(env or {})})
    try:
        url = json.loads(process.stdout.readline())["url"]
        wait_until_ready(process, url)
        yield Server(process, url)
        process.terminate()
        assert process.wait(timeout=60) == 0, "the server ends in order"
    finally:
        process.kill()
        log.close()


def wait_until_ready(process, url):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended; see {TOOLS / 'serve.log'}"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} is not ready after {PATIENCE_S} s")


@pytest.fixture(scope="session")
def server():
    """An open server."""
    with serve() as running:
        yield running


@pytest.fixture(scope="session")
def locked_server():
    """A server with one key."""
    with serve(env={"LYN_API_KEY": "sk-lyn-0123456789"}) as running:
        yield running
