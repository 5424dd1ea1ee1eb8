"""Organisms that use other organisms: doors only, each name in its own file, one tree of threads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.journal.test_recovery import came_to
from xml_pipeline import AnswerError, Organism
from xml_pipeline.config import json_schema, load
from xml_pipeline.config.boxes import not_in_force
from xml_pipeline.config.glance import glance
from xml_pipeline.config.lock import locked, written
from xml_pipeline.errors import ConfigError

BILLING = """
organism: {name: billing, default: desk, doors: [desk], limits: {messages: 5}}
payloads:
  Ticket: {fields: {text: text}}
  Reply: {fields: {text: text}}
listeners:
  - name: desk
    description: Answers what is asked about bills.
    accepts: Ticket
    flow:
      - {call: writer, as: draft, send: {Task: {text: "{{input.text}}"}}}
      - {call: boss, as: word, send: {Task: {text: "{{draft.text}}"}}}
      - {call: check, as: checked, send: {Task: {text: "{{word.text}}"}}}
      - answer: {Reply: {text: "{{draft.text}} / {{checked.text}}"}}
  - {name: writer, agent: true, model: cheap, prompt: Write., budget: {tokens: 100000, per: day}}
  - {name: boss, human: true}
  - {name: check, handler: hands:check, accepts: [Task, Answer], answers: Answer, peers: [shout]}
  - {name: shout, handler: hands:shout, accepts: Task, answers: Answer, approve: boss}
llm: {models: {cheap: [x]}, backends: [{provider: scripted, name: x}]}
"""
HANDS = """
from xml_pipeline import HandlerResponse
from xml_pipeline.agents import Answer, Task

seen = []

async def check(payload, metadata):
    seen.append(metadata.from_id)
    if isinstance(payload, Answer):
        return HandlerResponse.respond(payload)
    return HandlerResponse(payload, to="shout")

async def shout(payload, metadata):
    seen.append(metadata.from_id)
    return HandlerResponse(Answer(payload.text.upper()), to="check")
"""
OUTER = """
organism: {name: shop, default: desk}
listeners:
  - {name: billing, use: billing, tools: [desk], models: {cheap: smart}, people: {boss: anna}BUDGET}
  - {name: anna, human: true}
  - name: desk
    flow:
      - {call: billing.desk, as: reply, send: {Ticket: {text: "{{input.text}}"}}}
      - answer: {Answer: {text: "{{reply.text}}"}}
  - {name: shout, human: true}
  - {name: clerk, agent: true, model: smart, peers: [billing]}
llm:
  models: {smart: ["off"]}
  backends:
    - provider: scripted
      supported_models: ["off"]
      rules:
        - {agent: billing.writer, reply: Drafted.}
        - {agent: clerk, on: tool, reply: done}
        - {agent: clerk, tool: billing.desk, arguments: {text: bill}}
"""


def project(folder: Path, outer: str = OUTER, inner: str = BILLING, budget: str = "") -> Path:
    (folder / "billing").mkdir(exist_ok=True)
    (folder / "billing" / "organism.yaml").write_text(inner)
    (folder / "billing" / "hands.py").write_text(HANDS)
    file = folder / "organism.yaml"
    file.write_text(outer.replace("BUDGET", budget))
    return file


async def told(organism: Organism, asking: asyncio.Task[Any], *words: Any) -> Any:
    for word in words:
        await came_to(organism.questions)
        organism.answer(organism.questions()[0].thread_id, word)
        await came_to(lambda: asking.done() or organism.questions())
    return await asking


async def test_a_used_organism_works_under_its_own_names(tmp_path: Path) -> None:
    from xml_pipeline import Approval
    from xml_pipeline.agents import Answer, Task

    organism = Organism.from_file(project(tmp_path))
    assert [name for name in organism.listeners if name.startswith("billing")] == [
        f"billing.{name}" for name in ("desk", "writer", "boss", "check", "shout")
    ]
    async with organism:
        asking = asyncio.ensure_future(organism.ask("desk", Task("why")))
        assert (await told(organism, asking, Answer("fine"), Approval(True))).text == "Drafted. / FINE"
        seen = organism.listeners["billing.check"].handler.__globals__["seen"]  # type: ignore[union-attr]
        assert seen == ["desk", "check", "shout"]
        asking = asyncio.ensure_future(organism.ask("desk", Task("why")))
        with pytest.raises(AnswerError) as caught:
            await told(organism, asking, Answer("fine"), Approval(False, "no"))
        assert caught.value.code == "refused"
        asking = asyncio.ensure_future(organism.ask("clerk", Task("a bill")))
        assert (await told(organism, asking, Answer("fine"), Approval(True))).text == "done"


async def test_only_the_doors_are_reached(tmp_path: Path) -> None:
    organism = Organism.from_file(project(tmp_path))
    assert organism.listeners["clerk"].peers == ("billing.desk",)
    assert organism.listeners["desk"].peers == ("billing.desk",)
    assert set(organism.listeners["billing.desk"].peers) == {
        "billing.writer",
        "billing.boss",
        "billing.check",
    }
    assert "billing.shout" in organism.listeners["billing.check"].peers
    assert organism.listeners["billing.shout"].approve == "billing.boss"


async def test_a_box_is_paid_for_by_the_call_with_all_that_is_done_for_it(tmp_path: Path) -> None:
    from xml_pipeline.agents import Task

    organism = Organism.from_file(project(tmp_path, budget=", budget: {tokens: 1, per: call}"))
    async with organism:
        with pytest.raises(AnswerError, match="the budget for this work is used up") as caught:
            await organism.ask("desk", Task("why"))
        assert caught.value.code == "budget"
    agents = load(tmp_path / "organism.yaml").llm.budgets.agents
    assert set(agents) == {"billing.desk", "billing.writer"}


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        (
            ("tools: [desk]", "tools: [writer]"),
            "listeners[0].tools[0]",
            "'writer' is no door of billing",
        ),
        (("use: billing,", "use: nowhere,"), "listeners[0].use", "nowhere cannot be read"),
        (("use: billing,", "use: organism.yaml,"), "listeners[0].use", "cannot use each other in a circle"),
        (("tools: [desk]", "tools: [desc]"), "listeners[0].tools[0]", "did you mean 'desk'"),
        (("tools: [desk], ", ""), "listeners[0]", "needs `tools`"),
        (("models: {cheap: smart}, ", ""), "listeners[0]", "use the model 'cheap'; say which one"),
        (
            ("models: {cheap: smart}", "models: {cheap: smart, dear: smart}"),
            "listeners[0].models.dear",
            "no agent of billing uses",
        ),
        (
            ("people: {boss: anna}", "people: {boss: desk}"),
            "listeners[0].people.boss",
            "is no person of this file",
        ),
        (("people: {boss: anna}", "people: {boss: ana}"), "listeners[0].people.boss", "did you mean 'anna'"),
        (
            ("people: {boss: anna}", "people: {boss: anna, bos: anna}"),
            "listeners[0].people.bos",
            "has no person 'bos'",
        ),
        ((", people: {boss: anna}", ""), "listeners[0]", "asks 'boss'; say which person"),
        (("BUDGET", ", budget: {usd: 1, per: day}"), "listeners[0].budget", "by the call"),
        (("BUDGET", ", peers: [anna]"), "listeners[0].peers", "has no `peers`"),
        (
            ("call: billing.desk", "call: billing.writer"),
            "listeners[2].flow[0].call",
            "did you mean 'billing.desk'",
        ),
        (("send: {Ticket:", "send: {Tickt:"), "listeners[2].flow[0].send.Tickt", "it takes Ticket"),
        (
            ("{{reply.text}}", "{{reply.txt}}"),
            "listeners[2].flow[1].answer.Answer.text",
            "did you mean 'text'",
        ),
        (("peers: [billing]", "peers: [billing.writer]"), "listeners[4].peers[0]", "there is no listener"),
    ],
)
def test_a_mistake_about_a_box_has_its_place(
    tmp_path: Path, change: tuple[str, str], path: str, said: str
) -> None:
    file = project(tmp_path, OUTER.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [each.path for each in caught.value.problems] == [path], caught.value.problems
    assert said in caught.value.problems[0].message


def test_a_mistake_in_a_used_file_is_told_in_that_file(tmp_path: Path) -> None:
    file = project(tmp_path, inner=BILLING.replace("call: writer", "call: wrter"))
    with pytest.raises(ConfigError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert problem.file.endswith("billing/organism.yaml")
    assert problem.line > 10
    assert "did you mean 'writer'" in problem.message


def test_what_is_not_in_force_is_known(tmp_path: Path) -> None:
    (box,) = load(project(tmp_path)).boxes.values()
    assert {"llm", "organism.limits"} <= set(not_in_force(box))


def test_a_lock_holds_what_was_looked_at(tmp_path: Path) -> None:
    file = project(tmp_path)
    lock = tmp_path / "organism.lock"
    lock.write_text(written(locked(load(file).boxes)))
    load(file)

    def problem(inner: str = BILLING) -> str:
        project(tmp_path, inner=inner)
        with pytest.raises(ConfigError) as caught:
            load(file)
        (found,) = caught.value.problems
        return found.message

    more = BILLING.replace(
        "{fields: {text: text}}", "{fields: {text: text, more: {type: text, optional: true}}}", 1
    )
    assert "accepts of 'desk' changed; look at it" in problem(more)
    assert "description of 'desk' changed" in problem(BILLING.replace("Answers what", "Sends money when"))
    assert load(file, locked=False).boxes
    lock.write_text(json.dumps({"format": 1, "boxes": {}}))
    assert "it is not there" in problem()
    lock.write_text("{")
    assert "cannot be read" in problem()
    lock.unlink()
    project(tmp_path)
    load(file)


def test_the_schema_of_the_file_knows_what_can_be_called(tmp_path: Path) -> None:
    schema = json.dumps(json_schema(glance(project(tmp_path), environ={}).names))
    assert '"billing.desk"' in schema
    assert "billing.writer" not in schema
