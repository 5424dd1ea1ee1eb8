"""What came of several cases, as JUnit's XML, which CI systems read, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from xml_pipeline.cases.outcome import Outcome
from xml_pipeline.payload.text import carriable
from xml_pipeline.terminal import count


@dataclass(frozen=True, slots=True)
class Told:
    """A case, or a file that is none, and what came of it.

    Attributes:
        name: the case's; "" for a file with mistakes.
        organism: the organism's name, or the file's.
        file, line: where it stands.
        runs: what came of each run, in order; one unless it is a live one.
        at_least: how many have to pass.
        seconds: that all of them took.
        mistakes: of the file, which were not run then.
    """

    name: str
    organism: str
    file: str
    line: int
    runs: Sequence[Outcome] = ()
    at_least: int = 1
    seconds: float = 0.0
    mistakes: Sequence[str] = ()

    @property
    def passes(self) -> int:
        """How many runs passed."""
        return sum(run.passed for run in self.runs)

    @property
    def status(self) -> str:
        """`passed`, `failed`, `capped` (the money was used up before it was decided) or `mistakes`."""
        if self.mistakes:
            return "mistakes"
        if self.passes >= self.at_least:
            return "passed"
        return "capped" if not self.runs or any(run.capped for run in self.runs) else "failed"

    @property
    def why(self) -> tuple[str, ...]:
        """What is not as it was expected: of the first run that failed."""
        failed = next((run for run in self.runs if not run.passed), None)
        if self.status == "passed" or failed is None:
            return tuple(self.mistakes)
        passes = f"passed {self.passes} of {count(len(self.runs), 'run')}, and has to {self.at_least} times"
        return (*((passes,) if len(self.runs) > 1 else ()), *failed.problems)

    @property
    def trace(self) -> tuple[str, ...]:
        """What was said in that run."""
        failed = next((run for run in self.runs if not run.passed), None)
        return () if failed is None or self.status == "passed" else failed.trace


def junit(told: Sequence[Told]) -> bytes:
    """The document: a suite for each organism."""
    root = etree.Element("testsuites", {"name": "xml-pipeline", **_numbers(told)})
    for organism in dict.fromkeys(each.organism for each in told):
        own = [each for each in told if each.organism == organism]
        suite = etree.SubElement(root, "testsuite", {"name": carriable(organism), **_numbers(own)})
        for each in own:
            attributes = {"classname": carriable(organism), "name": carriable(each.name or each.file)}
            attributes |= {
                "file": carriable(each.file),
                "line": str(each.line),
                "time": f"{each.seconds:.3f}",
            }
            case = etree.SubElement(suite, "testcase", attributes)
            kind = {"failed": "failure", "mistakes": "error", "capped": "skipped"}.get(each.status)
            if kind is None:
                continue
            why = carriable("\n".join(each.why)) or "the money for real models was used up"
            part = etree.SubElement(case, kind, {"message": why.splitlines()[0]})
            if kind != "skipped":
                part.text = why
            if each.trace:
                etree.SubElement(case, "system-out").text = carriable("\n".join(each.trace))
    document: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return document


def _numbers(told: Sequence[Told]) -> dict[str, str]:
    statuses = [each.status for each in told]
    return {
        "tests": str(len(told)),
        "failures": str(statuses.count("failed")),
        "errors": str(statuses.count("mistakes")),
        "skipped": str(statuses.count("capped")),
        "time": f"{sum(each.seconds for each in told):.3f}",
    }


def as_json(each: Told) -> dict[str, Any]:
    """A case as JSON has it."""
    known = [run.usd for run in each.runs]
    return {
        "name": each.name,
        "organism": each.organism,
        "file": each.file,
        "line": each.line,
        "status": each.status,
        "runs": len(each.runs),
        "passed": each.passes,
        "at_least": each.at_least,
        "why": list(each.why),
        "trace": list(each.trace),
        "tokens": sum(run.tokens for run in each.runs),
        "usd": None if None in known else sum(usd for usd in known if usd is not None),
    }
