"""Doors and triggers in organism.yaml: what is right, and every mistake with its place, told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.projects import HANDLERS, config_of, problems_in, problems_of, write
from xml_pipeline import Organism
from xml_pipeline.composition import triggers_of
from xml_pipeline.triggers.cron import Cron, Every
from xml_pipeline.triggers.trigger import Webhook

DOORS = "{desk: {budget: {usd: 5, per: day}}, boss: {}}"


def without(text: str, new: str) -> str:
    """The file without triggers, and with something else in a place of it."""
    return HEAD.replace(text, new).removesuffix("triggers:\n")


HEAD = """\
organism:
  name: x
  journal: state.db
  doors: {desk: {budget: {usd: 5, per: day}}, boss: {}}
listeners:
  - {name: desk, agent: true, model: m}
  - {name: boss, human: true, accepts: [Task, Answer]}
  - {name: vault, agent: true, model: m}
triggers:
"""
GOOD = """\
  - name: morning
    cron: 0 7 * * MON-FRI
    zone: Europe/Zurich
    to: desk
    send: What is new
    budget: {usd: 1, per: day}
  - name: often
    every: 15m
    to: boss
    send: {Answer: {text: hi}}
    budget: {tokens: 9, per: conversation}
    if_running: queue
  - name: hook
    webhook: {path: /hooks/a, secret_env: HOOK}
    to: desk
    budget: [{usd: 1}, {usd: 9, per: month}]
  - name: ping
    webhook: {path: /hooks/b, secret_env: HOOK}
    to: boss
    send: someone rang
    budget: {usd: 1}
    if_running: skip
"""


def test_what_is_right(tmp_path: Path) -> None:
    config = config_of(HEAD + GOOD, HOOK="s" * 24)
    morning, often, hook, ping = triggers_of(config)
    assert isinstance(morning.when, Cron)
    assert str(morning.when.zone) == "Europe/Zurich"
    assert (morning.said, morning.if_running, morning.missed) == (
        {"Task": {"text": "What is new"}},
        "skip",
        "skip",
    )
    assert (often.when, often.said, often.if_running) == (Every(900.0), {"Answer": {"text": "hi"}}, "queue")
    assert isinstance(hook.when, Webhook)
    assert (hook.when.path, hook.when.secret, hook.said, hook.if_running) == (
        "/hooks/a",
        "s" * 24,
        None,
        "also",
    )
    assert ping.if_running == "skip"
    budgets = config.llm.budgets.budgets()
    assert {name: [each.usd for each in some] for name, some in budgets.doors.items()} == {"desk": [5.0]}
    assert sorted(budgets.callers) == ["trigger:hook", "trigger:morning", "trigger:often", "trigger:ping"]
    organism = Organism.from_config(config)
    assert list(organism.doors) == ["desk", "boss"]
    assert "s" * 24 not in repr(organism.triggers)


def test_doors_may_be_a_list_and_there_are_none_by_default() -> None:
    listeners = "listeners: [{name: a, human: true}, {name: b, human: true}]\n"
    listed = config_of("organism: {name: x, doors: [b, a]}\n" + listeners)
    assert list(listed.organism.doors) == ["b", "a"]
    assert list(Organism.from_config(config_of("organism: {name: x}\n" + listeners)).doors) == []


def one(text: str) -> str:
    """A file with a trigger that says this; what it does not say is right."""
    usual = {"name": "t", "to": "desk", "send": "hi", "budget": "{usd: 1, per: day}"}
    rest = "".join(f", {key}: {value}" for key, value in usual.items() if f"{key}:" not in text)
    return HEAD + f"  - {{{text}{rest}}}\n"


HOOK = "webhook: {path: /a, secret_env: S}"
NO_JOURNAL = (HEAD.replace("  journal: state.db\n", ""), "")

BROKEN: list[tuple[str, str, str]] = [
    # the text of a file, the path of its only mistake, and a part of what is said
    (one("send: hi"), "triggers[0]", "never fires; say when"),
    (one("cron: 0 7 * * *, every: 1h"), "triggers[0].every", "has one of cron, every and webhook"),
    (one("cron:"), "triggers[0].cron", "is empty; say when it fires"),
    (one("cron: 0 25 * * *"), "triggers[0].cron", "has '25' as hour; allowed: 0 to 23"),
    (one("cron: 0 7 * *"), "triggers[0].cron", "has 4 fields; five are needed"),
    (one("cron: 0 0 7 * * *"), "triggers[0].cron", "there is none for seconds"),
    (one('cron: "@daily"'), "triggers[0].cron", "write five fields"),
    (one("cron: 0 0 31 2 *"), "triggers[0].cron", "fits no date"),
    (one('cron: "${C:-oops}"'), "triggers[0].cron", "has 1 fields"),
    (
        one("cron: 0 7 * * *, zone: Europe/Zürich"),
        "triggers[0].zone",
        "there is no time zone 'Europe/Zürich' here",
    ),
    (one("cron: 0 7 * * *, zone: ../../etc/passwd"), "triggers[0].zone", "there is no time zone"),
    (one("every: 1h, zone: UTC"), "triggers[0].zone", "goes with `cron`"),
    (one("every: 15"), "triggers[0].every", "text"),
    (one("every: 0m"), "triggers[0].every", "must be a length of time, as `90s`"),
    (one("every: 1w"), "triggers[0].every", "must be a length of time, as `90s`"),
    (one("every: 1h, to: dask"), "triggers[0].to", "'dask' is no door; did you mean 'desk'?; doors are: "),
    (one("every: 1h, to: vault"), "triggers[0].to", "'vault' is no door; doors are: "),
    (one("every: 1h, send:"), "triggers[0].send", "is empty; write a text"),
    (
        HEAD + "  - {name: t, every: 1h, to: desk, budget: {usd: 1}}\n",
        "triggers[0]",
        "says nothing; write `send: TEXT`",
    ),
    (one("every: 1h, send: {}"), "triggers[0].send", "is one message, `{Class: {field: value}}`, and not 0"),
    (one("every: 1h, send: {Task: {text: a}, Answer: {text: b}}"), "triggers[0].send", "and not 2"),
    (
        one("every: 1h, send: {Taks: {text: a}}"),
        "triggers[0].send.Taks",
        "'desk' takes no Taks; it takes Task; did you",
    ),
    (
        one("every: 1h, send: {Answer: {text: a}}"),
        "triggers[0].send.Answer",
        "'desk' takes no Answer; it takes Task",
    ),
    (one("every: 1h, send: {Task: {txet: a}}"), "triggers[0].send.Task", "is no Task: "),
    (one("every: 1h, send: {Task: {text: [a]}}"), "triggers[0].send.Task", "is no Task: "),
    (one("every: 1h, send: {Task: hi}"), "triggers[0].send.Task", "is no Task: "),
    (one("every: 1h, send: {Task: }"), "triggers[0].send.Task", "is no Task: "),
    (HEAD + "  - {name: t, every: 1h, to: desk, send: hi}\n", "triggers[0]", "budget"),
    (one("every: 1h, budget: []"), "triggers[0].budget", "at least 1"),
    (one("every: 1h, budget: {}"), "triggers[0].budget", "a budget limits something"),
    (one("every: 1h, budget: {usd: 1, soft: true}"), "triggers[0].budget", "only warns (`soft`)"),
    (one("every: 1h, budget: {usd: 1, per: call}"), "triggers[0].budget", "per: conversation"),
    (one("every: 1h, if_running: wait"), "triggers[0].if_running", "skip"),
    (one("every: 1h, missed: all"), "triggers[0].missed", "once"),
    (one(f"{HOOK}, missed: once"), "triggers[0].missed", "whoever sends to a webhook tries again"),
    (one(f"{HOOK}, if_running: queue"), "triggers[0].if_running", "a delivery is taken or refused"),
    (
        one("webhook: {path: hooks, secret_env: S}"),
        "triggers[0].webhook.path",
        "must be a path, as `/hooks/order`",
    ),
    (
        one('webhook: {path: "/a/../b?c", secret_env: S}'),
        "triggers[0].webhook.path",
        "must be a path, as `/hooks/order`",
    ),
    (
        one("webhook: {path: /a, secret_env: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==}"),
        "triggers[0].webhook.secret_env",
        "",
    ),
    (one("webhook: {path: /a}"), "triggers[0].webhook", "secret_env"),
    (
        one("webhook: {path: /a, secret_env: S, payload: Task}"),
        "triggers[0].webhook.payload",
        "the body is not read",
    ),
    (
        HEAD + f"  - {{name: t, {HOOK}, to: boss, budget: {{usd: 1}}}}\n",
        "triggers[0].webhook",
        "say which with `payload: Task`",
    ),
    (
        HEAD
        + "  - {name: t, webhook: {path: /a, secret_env: S, payload: Answre}, to: boss, budget: {usd: 1}}\n",
        "triggers[0].webhook.payload",
        "'boss' takes no Answre; it takes Answer, Task; did you mean 'Answer'?",
    ),
    (
        one(HOOK).replace("  journal: state.db\n", ""),
        "triggers[0].webhook",
        "needs a journal, which knows which deliveries",
    ),
    (
        one("every: 1h, missed: once").replace("  journal: state.db\n", ""),
        "triggers[0].missed",
        "or write `skip`",
    ),
    (
        one("every: 1h") + "  - {name: t, every: 2h, to: desk, send: hi, budget: {usd: 1}}\n",
        "triggers[1].name",
        "another trigger 't' (first in line",
    ),
    (
        one(f"{HOOK}") + f"  - {{name: u, {HOOK}, to: desk, send: hi, budget: {{usd: 1}}}}\n",
        "triggers[1].webhook.path",
        "another webhook '/a' (first in line",
    ),
    (one("every: 1h, evry: 2h"), "triggers[0].evry", "did you mean"),
    (one("every: 1h, name: a b"), "triggers[0].name", "must be a name"),
    (
        HEAD.replace("boss: {}", "bos: {}").removesuffix("triggers:\n"),
        "organism.doors.bos",
        "there is no listener 'bos'; did you mean 'boss'?",
    ),
    (
        HEAD.replace(DOORS, "[desk, nobody]").removesuffix("triggers:\n"),
        "organism.doors[1]",
        "there is no listener 'nobody'",
    ),
    (
        HEAD.replace(DOORS, "[desk, desk]").removesuffix("triggers:\n"),
        "organism.doors[1]",
        "the door 'desk' is named twice",
    ),
    (
        HEAD.replace("per: day", "per: call").removesuffix("triggers:\n"),
        "organism.doors.desk.budget",
        "per: conversation",
    ),
    (
        HEAD.replace("boss: {}", "boss: {budgets: 1}").removesuffix("triggers:\n"),
        "organism.doors.boss.budgets",
        "did you mean",
    ),
    (without("boss: {}", "boss:"), "organism.doors.boss", ""),
    (
        HEAD.replace("  doors:", "  webhooks: {port: 70000}\n  doors:").removesuffix("triggers:\n"),
        "organism.webhooks.port",
        "65535",
    ),
    (one('cron: "${HIDDEN}"'), "triggers[0].cron", "${HIDDEN} is no cron expression"),
]


@pytest.mark.parametrize(("text", "path", "said"), BROKEN, ids=range(len(BROKEN)))
def test_a_mistake_has_a_place_and_a_cause(text: str, path: str, said: str) -> None:
    problems = problems_of(text, HIDDEN="some value")
    assert [each.path for each in problems] == [path], problems
    assert problems[0].line > 0
    assert said in problems[0].message


def test_what_another_organism_offers_may_be_a_door(tmp_path: Path) -> None:
    def file(door: str) -> Path:
        outer = f"""\
organism: {{name: x, doors: [{door}]}}
listeners: [{{name: billing, use: inner.yaml, tools: [clerk], models: {{m: m}}}}]
triggers: [{{name: t, every: 1h, to: {door}, send: hello, budget: {{usd: 1}}}}]
"""
        inner = """\
organism: {name: y, doors: [clerk]}
listeners: [{name: clerk, agent: true, model: m}]
triggers: [{name: u, every: 1h, to: clerk, send: never, budget: {usd: 1}}]
"""
        return write(tmp_path, {"organism.yaml": outer, "inner.yaml": inner})

    organism = Organism.from_file(file("billing.clerk"))
    assert list(organism.doors) == ["billing.clerk"]
    assert list(organism.triggers) == ["t"]  # those of the other file are not in force here
    (problem,) = problems_in(file("billing"))
    assert problem.path == "organism.doors[0]"
    assert "'billing' is another organism; a door is one listener of it, as `billing.NAME`" in problem.message


def test_a_value_from_the_environment_is_not_shown() -> None:
    for text in (
        "cron: ${HIDDEN}",
        "every: 1h, send: {Task: {txet: '${HIDDEN}'}}",
        "every: 1h, to: '${HIDDEN}'",
    ):
        for problem in problems_of(one(text), HIDDEN="the-hidden-value"):
            assert "the-hidden-value" not in str(problem)


def test_what_a_handler_takes_is_known(tmp_path: Path) -> None:
    def file(send: str) -> Path:
        text = f"""\
organism: {{name: x, doors: [greeter]}}
listeners: [{{name: greeter, handler: "handlers:greet"}}]
triggers: [{{name: t, every: 1h, to: greeter, send: {send}, budget: {{usd: 1}}}}]
"""
        return write(tmp_path, {"organism.yaml": text, "handlers.py": HANDLERS})

    assert Organism.from_file(file("{Greeting: {name: Ada}}")).triggers["t"].said == {
        "Greeting": {"name": "Ada"}
    }
    (problem,) = problems_in(file("hello"))
    assert problem.path == "triggers[0].send"
    assert "'greeter' takes no Task; it takes Greeting; a text is a `Task`" in problem.message
    (problem,) = problems_in(file("{Greeting: {nam: Ada}}"))
    assert problem.path == "triggers[0].send.Greeting"
    assert "name" in problem.message
