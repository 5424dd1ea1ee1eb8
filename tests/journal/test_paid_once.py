"""Real processes, really killed while they spend: the ledger against the provider's own count."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.journal.nursery import KEYS
from tests.journal.spender import OUTPUT, PROMPT
from xml_pipeline.journal.file import read_only

SCALE = float(os.environ.get("XP_SLOW_SCALE", "0.01"))  # of two thousand deaths
MOST = 4  # deaths of one organism; a message that was interrupted more often is taken for their cause
TOKENS = PROMPT + OUTPUT


class Provider:
    """Answers, and counts what it answers: the bill."""

    def __init__(self) -> None:
        self.bill: Counter[str] = Counter()
        self.lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = asked["messages"][-1]["content"]
                time.sleep(random.random() * 0.004)
                with provider.lock:
                    provider.bill[prompt] += 1
                message = {"role": "assistant", "content": f"<{prompt}>"}
                usage = {"prompt_tokens": PROMPT, "completion_tokens": OUTPUT}
                answer = {
                    "model": "m",
                    "choices": [{"message": message, "finish_reason": "stop"}],
                    "usage": usage,
                }
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # who asked is dead
                    self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Spenders:
    """Lives, one after the other, in one folder, and the provider that they ask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deaths = 0
        self.provider = Provider()
        url = f"http://127.0.0.1:{self.provider.server.server_port}/v1"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.journal.spender", str(folder), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def life(self, **fate: Any) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(fate) + "\n")
        code = int(self.process.stdout.readline())
        self.deaths += code == -9
        assert code in (0, -9)
        return code

    def fresh(self) -> None:
        self.provider.bill.clear()
        for file in self.folder.iterdir():
            file.unlink()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.provider.close()

    def rows(self) -> tuple[int, int, int]:
        """Answered rows, unknown ones, and the tokens of the answered ones; nothing else was written."""
        with closing(read_only(self.folder / "state.db")) as journal:
            found = journal.execute(
                "SELECT outcome, estimated, confirmed, count(*), sum(prompt + output) FROM calls GROUP BY 1, 2, 3"
            ).fetchall()
        kinds = {(outcome, estimated, confirmed): rest for outcome, estimated, confirmed, *rest in found}
        answered, tokens = kinds.pop(("answered", 0, 1), (0, 0))
        # A death leaves "unknown"; the organism's own end, in the middle of a call, "cancelled": both unconfirmed.
        unknown = sum(
            count
            for count, _ in (kinds.pop(("unknown", 1, 0), (0, 0)), kinds.pop(("cancelled", 1, 0), (0, 0)))
        )
        assert not kinds
        return answered, unknown, tokens

    def holds(self) -> None:
        """All was answered; each answer was paid once, but for those that a death cut off, which are marked."""
        answers = json.loads((self.folder / "answers").read_text())
        assert answers == [" ".join(f"<{n}.{part}>" for part in range(3)) for n in range(len(KEYS))]
        answered, unknown, tokens = self.rows()
        bill = self.provider.bill
        assert answered == len(bill) == 3 * len(KEYS)
        assert tokens == answered * TOKENS
        assert answered <= bill.total() <= answered + unknown


@pytest.fixture
def spenders(tmp_path: Path) -> Iterator[Spenders]:
    spenders = Spenders(tmp_path)
    yield spenders
    spenders.close()


def test_nothing_dies_and_the_ledger_is_the_bill(spenders: Spenders) -> None:
    assert spenders.life() == 0
    assert spenders.rows() == (24, 0, 24 * TOKENS)
    assert spenders.provider.bill.total() == 24
    spenders.holds()


@pytest.mark.parametrize("place", ["handler", "returned", "statement", "append", "durable"])
def test_a_death_at_each_place_is_paid_once(spenders: Spenders, place: str) -> None:
    for nth in (0, 9):
        if spenders.folder.joinpath("answers").exists():
            spenders.fresh()
        for again in range(MOST):
            if spenders.life(failpoint=place, nth=nth + again) == 0:
                break
        assert spenders.life() == 0
        spenders.holds()
    assert spenders.deaths >= 3


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_deaths_at_any_time_are_paid_once(spenders: Spenders) -> None:
    chance = random.Random(3)
    while spenders.deaths < 2000 * SCALE:
        for _ in range(MOST):
            if spenders.life(milliseconds=chance.uniform(5, 120)) == 0:
                break
        assert spenders.life() == 0
        spenders.holds()
        spenders.fresh()


def test_no_death_lifts_a_budget(spenders: Spenders) -> None:
    """The provider's own count never passes the limit, however often the organism starts anew."""
    limit = 900
    for nth in (1, 4, 8):
        for _ in range(MOST):
            spenders.life(failpoint="returned", nth=nth, daily=limit)
        assert spenders.life(daily=limit) == 0
        assert "budget" in (spenders.folder / "answers").read_text()
        assert 5 * TOKENS <= spenders.provider.bill.total() * TOKENS <= limit
        spenders.fresh()
    assert spenders.deaths >= 3
