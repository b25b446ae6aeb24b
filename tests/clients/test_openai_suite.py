"""OpenAI's own API tests, unmodified, as their source distribution has them.

They were written for a mock that answers whatever it is asked, so each failure is either a fault of the server or a request
that lyn refuses on purpose. The latter are listed here, each with its reason.
"""

import os
import pathlib
import re
import subprocess
import sys
import tarfile

import pytest

from conftest import TOOLS, serve

VERSION = "3.54.0"
# What the server refuses, and why.
REFUSED: dict[str, str] = {}


@pytest.fixture(scope="module")
def suite():
    folder = TOOLS / f"openai-{VERSION}"
    if not folder.is_dir():
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "openai"]
        subprocess.run([*download, "-d", TOOLS, f"openai=={VERSION}"], check=True, timeout=300)
        with tarfile.open(TOOLS / f"openai-{VERSION}.tar.gz") as archive:
            archive.extractall(TOOLS, filter="data")
    return folder


def test_openai_s_own_tests(suite: pathlib.Path):
    with serve("--accept-any-model", "--parallel", "4", "--max-queue", "64") as server:
        files = ["chat/test_completions.py", "test_completions.py", "test_models.py"]
        files = [f"tests/api_resources/{file}" for file in files]
        left_out = " and ".join(f"not {name}" for name in ["delete", "update", "list_messages", *REFUSED])
        # The methods of stored completions do not exist here.
        command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-p", "no:cacheprovider", *files]
        env = {**os.environ, "TEST_API_BASE_URL": server.url}
        ran = subprocess.run(
            [*command, "-k", f"create or ({left_out} and (models or Models))"],
            cwd=suite, env=env, capture_output=True, text=True, timeout=900,
        )
    passed = int((re.search(r"(\d+) passed", ran.stdout) or [0, 0])[1])
    print(ran.stdout.splitlines()[-1])
    assert ran.returncode == 0 and passed >= 40, ran.stdout[-4000:]
