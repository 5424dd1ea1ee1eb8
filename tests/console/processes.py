"""Console processes, and what they write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "XAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


def environment(state: Path, **more: str) -> dict[str, str]:
    """A user's environment without keys, whose state directory is `state`; the example's journal is there too."""
    kept = {name: value for name, value in os.environ.items() if name not in KEYS}
    mine = {"XDG_STATE_HOME": str(state), "JOURNAL": str(state / "xml-pipeline" / "example.db")}
    return {**kept, **mine, "XML_PIPELINE_FORBID_REAL_REQUESTS": "1", **more}


def start(*arguments: str, state: Path, cwd: Path = ROOT, **more: str) -> subprocess.Popen[str]:
    """`python …` with pipes."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(state, **more),
    )


def run(
    *arguments: str,
    state: Path,
    text: str | bytes = "",
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`python …` to its end, with `text` as its input."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=text.encode() if isinstance(text, str) else text,
        capture_output=True,
        cwd=cwd,
        env=environment(state, **(env or {})),
        timeout=50,
        check=False,
    )
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def read_until(stream: IO[str], text: str) -> str:
    """What the stream holds up to and with the line that contains `text`."""
    read = ""
    while text not in read:
        line = stream.readline()
        assert line, f"ended without {text!r}: {read}"
        read += line
    return read
