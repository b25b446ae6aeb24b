"""Every command and program of docs/server.md, in order, against a server that it starts itself."""

import os
import pathlib
import re
import subprocess

import pytest

from conftest import LYN, ROOT, TOOLS

TEXT = (ROOT / "docs" / "server.md").read_text()
BLOCKS = re.findall(r"```(sh|python|js)\n(.*?)```", TEXT, re.S)
BIN = TOOLS / "venv" / "bin"


def environment(folder: pathlib.Path):
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {
        **inherited,
        "PATH": f"{LYN.parent}:{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LLM_USER_PATH": str(folder / "llm"),
    }


@pytest.mark.parametrize("language, block", BLOCKS)
def test_block(server, tmp_path, language, block):
    # The documents name the default port.
    block = block.replace("http://127.0.0.1:8080", server.url)
    if "lyn serve" in block:
        # What starts a server is started, asked, and ended.
        block = block.replace("lyn serve", "timeout --preserve-status --signal TERM 8 lyn serve --port 0 --no-page")
    programs = {"sh": ["sh", "-euc", block], "python": [BIN / "python", "-c", block], "js": None}
    command = programs[language]
    if command is None:
        script = TOOLS / "docs.mjs"
        script.write_text(block)
        command = ["node", script]
    ran = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    if "lyn serve" in block:
        assert "listening on http://" in ran.stderr
    else:
        assert len(ran.stdout) > 20, ran.stderr
        assert '"error"' not in ran.stdout
