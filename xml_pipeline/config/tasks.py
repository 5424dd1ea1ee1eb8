"""What organism.yaml is written for, task by task: the beginning of its reference page, and of the skill."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Example:
    """A whole organism that does one thing.

    Attributes:
        heading: the task.
        text: what there is to know, as Markdown.
        yaml: its organism.yaml.
        beside: other files, by name.
        more: where there is more, as links from the reference page.
    """

    heading: str
    text: str
    yaml: str
    beside: Mapping[str, str] = field(default_factory=dict)
    more: str = ""

    @property
    def markdown(self) -> str:
        """Its snippets, and what there is to know."""
        parts = [textwrap.fill(self.text, 116, break_on_hyphens=False), _fenced("yaml", self.yaml)]
        for name, text in self.beside.items():
            parts += [f"`{name}` beside it:", _fenced("py", text)]
        return "\n\n".join(parts)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}```"


FIRST_AGENT = Example(
    "A first agent",
    "`agent: true` is a listener that a model drives. It takes a `Task` and answers with an `Answer`, each one text."
    " A `model` is a name of `llm.models`, or one that a backend serves; of a chain the first that can be asked"
    " answers. The scripted backend answers by rules, without a key: `xp run --once 'Hello'` works at once.",
    """\
organism: {name: first, default: helper}
listeners:
  - name: helper
    agent: true
    description: Answers questions.
    model: smart
    prompt: You answer in two sentences at most.
llm:
  models: {smart: [claude-sonnet-4-5, offline]}
  backends:
    - provider: anthropic                  # its key is in ANTHROPIC_API_KEY, never in this file
    - provider: scripted
      supported_models: [offline]
      rules: [{reply: "I am a rule, and no model."}]
""",
)

TYPED_MESSAGES = Example(
    "Typed messages",
    "`payloads` declares classes of messages; `accepts` and `answers` of a listener name them. What does not fit is"
    " refused where it is written, with the field and what is allowed; a model is told so, and tries again. Words in"
    " brackets are the only values; a field is required unless it is `optional: true` or has a `default`.",
    """\
organism: {name: desk, default: triage}
payloads:
  Ticket:
    description: What a customer wrote.
    fields:
      text: {type: text, min_length: 1}
      order: {type: text, pattern: "[A-Z]{3}-[0-9]{4}", example: ABC-1234, optional: true}
  Triage:
    description: Who shall answer, and how sure that is.
    fields:
      kind: [billing, technical, other]
      confidence: {type: number, min: 0, max: 1}
listeners:
  - name: triage
    agent: true
    description: Says what a ticket is about.
    accepts: Ticket
    answers: Triage
    model: offline
    prompt: You sort tickets. You answer none of them.
llm:
  backends:
    - provider: scripted
      supported_models: [offline]
      rules: [{reply: "<Triage><kind>billing</kind><confidence>0.9</confidence></Triage>"}]
""",
    more="[All types](../guides/payloads.md#declared-in-yaml).",
)

CALLS = Example(
    "Calling each other",
    "`peers` are the listeners that one may call; without it, none. An agent's peers are tools of its model: their"
    " `description` and the fields of what they accept are all that it knows of them. A `handler` is a function of"
    " Python, and its annotations are its contract.",
    """\
organism: {name: sums, default: clerk}
listeners:
  - name: clerk
    agent: true
    description: Does sums.
    model: offline
    prompt: You use the adder for each sum.
    peers: [adder]
  - {name: adder, handler: "handlers:add", description: Adds two whole numbers.}
llm:
  backends:
    - provider: scripted
      supported_models: [offline]
      rules:
        - {match: '(\\d+) and (\\d+)', tool: adder, arguments: '{"a": \\1, "b": \\2}'}
        - {on: tool, match: '(\\d+)', reply: It is \\1.}
""",
    {
        "handlers.py": """\
from dataclasses import dataclass

from xml_pipeline import HandlerMetadata, HandlerResponse, xmlify


@xmlify
@dataclass
class Add:
    a: int
    b: int


@xmlify
@dataclass
class Sum:
    value: int


async def add(payload: Add, metadata: HandlerMetadata) -> HandlerResponse[Sum]:
    return HandlerResponse.respond(Sum(payload.a + payload.b))
"""
    },
    "[Handlers](../guides/handlers.md), [agents](../guides/agents.md).",
)

PEOPLE = Example(
    "People",
    "`human: true` is a person: the console asks, and `xp questions` lists what waits. Nothing is held meanwhile, and"
    " with a `journal` the question is still there after a restart. What the person may answer is a class like any"
    " other.",
    """\
organism: {name: orders, default: boss}
payloads:
  Order: {fields: {item: text, price: {type: decimal, min: 0}}}
  Verdict: {fields: {allowed: boolean, reason: {type: text, optional: true}}}
listeners:
  - name: boss
    human: true
    description: Allows orders, or refuses them.
    accepts: Order
    answers: Verdict
""",
)

HAND_OVER = Example(
    "Hand-over",
    "`hands_over_to` names the listeners that may take over a call: they answer its caller, in this one's place."
    " Neither `peers` implies it, nor it `peers`. Who takes over answers with classes that this one may answer with,"
    " and `organism.limits.handovers` bounds how often that happens to one call.",
    """\
organism: {name: support, default: desk}
listeners:
  - name: desk
    description: Takes every question, and gives it to who knows.
    handler: handlers:desk
    accepts: Task
    answers: Answer
    hands_over_to: [clerk, boss]
  - name: clerk
    agent: true
    description: Answers what is usual.
    model: offline
    prompt: You are friendly and brief.
  - {name: boss, human: true, description: Answers what is not.}
llm:
  backends:
    - {provider: scripted, supported_models: [offline], rules: [{reply: It is on its way.}]}
""",
    {
        "handlers.py": """\
from xml_pipeline import HandlerMetadata, HandlerResponse
from xml_pipeline.agents import Task


async def desk(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.delegate(payload, to="boss" if "refund" in payload.text else "clerk")
"""
    },
)

STEPS = Example(
    "Steps",
    "`flow:` is an order of work without a model and without Python: calls, some at once, ways chosen by a declared"
    " word, an end on every path. `{{input.text}}` is a field of the task, `{{triage.kind}}` one of an answer. All of"
    " it is checked before anything runs. `approve: PERSON` on a listener lets nothing be done there before that"
    " person has seen it.",
    """\
organism: {name: steps, default: desk}
payloads:
  Ticket: {fields: {text: text}}
  Triage: {fields: {kind: [bill, other], sure: boolean}}
  Reply: {fields: {text: text, fact: {type: text, optional: true}}}
listeners:
  - name: desk
    accepts: Ticket
    flow:
      - together:
          - {call: triage, as: triage, send: "{{input}}"}
          - {call: facts, as: facts, send: {Task: {text: "{{input.text}}"}}, if_fails: absent}
        timeout_seconds: 60
      - choose: triage.kind
        ways:
          bill: [{delegate: billing, send: "{{input}}"}]
          other: []                        # goes on with the next step
      - answer: {Reply: {text: "We look at it: {{input.text}}", fact: "{{facts.text}}"}}
  - {name: triage, agent: true, model: m, accepts: Ticket, answers: Triage, prompt: You sort tickets.}
  - {name: facts, agent: true, model: m, prompt: You collect facts.}
  - {name: billing, agent: true, model: m, accepts: Ticket, answers: Reply, prompt: You know bills.}
llm:
  models: {m: [offline]}
  backends:
    - provider: scripted
      supported_models: [offline]
      rules:
        - {agent: triage, match: ".*bill.*", reply: '{"kind": "bill", "sure": true}'}
        - {agent: triage, reply: '{"kind": "other", "sure": false}'}
        - {agent: facts, reply: It rains.}
        - {agent: billing, reply: '{"text": "Paid."}'}
""",
    more="[Flows](../guides/flows.md), [one organism in another](../guides/composition.md).",
)

MONEY = Example(
    "Money",
    "A `budget` is in tokens or US dollars, `per` call, conversation, run, hour, day, week or month; of several the"
    " first that is used up ends the call, before anything is sent. `llm.budgets` has those of the organism and of"
    " operations. With a `journal`, or `llm.ledger`, what was spent outlives the process;"
    " `xp run --once TASK --dry-run` says first what a task may cost.",
    """\
organism: {name: thrift, default: helper, journal: "${JOURNAL:-}"}
defaults:
  agents: {model: cheap, max_turns: 4, max_tokens: 500}
listeners:
  - name: helper
    agent: true
    description: Answers questions.
    prompt: You answer in one sentence.
    budget: [{tokens: 20000, per: call}, {usd: 2.0, per: day}]
llm:
  models: {cheap: [claude-haiku-4-5, offline]}
  budgets: {organism: {usd: 10.0, per: month}}
  backends:
    - {provider: anthropic, rate_limit_rpm: 50, max_concurrent: 4}
    - {provider: scripted, supported_models: [offline], rules: [{reply: "That was cheap."}]}
""",
    more="[Limits and budgets](../guides/limits-and-budgets.md), [what was spent](../cost.md).",
)

TRIGGERS = Example(
    "Triggers",
    "`triggers:` begin conversations by themselves while `xp run` runs: `cron` with its `zone`, `every`, or a"
    " `webhook` with a secret. Each goes to a listener of `organism.doors`, which is all that may be reached by what"
    " comes in by itself, and has a `budget`. With a `journal` a time fires once whatever dies meanwhile, and what"
    " fell due while nobody ran can be made up for (`missed: once`). `xp triggers list` says when they fire,"
    " `xp triggers fire NAME` fires one now.",
    """\
organism:
  name: morning
  default: desk
  doors: {desk: {budget: {usd: 5.0, per: month}}}
listeners:
  - {name: desk, agent: true, model: m, description: Tells what is new., prompt: You are brief.}
triggers:
  - name: every-morning
    to: desk
    cron: "0 7 * * 1-5"
    zone: Europe/Zurich
    send: "What is new?"
    missed: skip
    budget: {usd: 0.20, per: conversation}
llm:
  models: {m: [offline]}
  backends: [{provider: scripted, supported_models: [offline], rules: [{reply: Nothing is new.}]}]
""",
    more="[Triggers](../guides/triggers.md).",
)

TESTS = Example(
    "Tests",
    "`tests:` holds cases, in the file or in `*.test.yaml` beside it: what is sent, what models and people say in the"
    " `script`, and what is expected. `xp test` runs them without a model, a key or time; `xp test --live --usd 0.50`"
    " with the real models. `xp test record CONVERSATION` makes one of a conversation in the journal.",
    """\
organism: {name: tested, default: clerk}
listeners:
  - name: clerk
    agent: true
    model: m
    prompt: You ask the boss before you promise anything.
    peers: [boss]
  - {name: boss, human: true}
tests:
  - name: no refund without the boss
    to: clerk
    send: Refund order 17.
    script:
      clerk:
        - {call: boss, with: "May I?"}
        - {reply: "I may not."}
      boss: [{answer: "No."}]
    expect: {answer: "I may not.", calls: [boss]}
llm:
  models: {m: [offline]}
  backends: [{provider: scripted, supported_models: [offline], rules: [{reply: Tested.}]}]
""",
    more="[Testing](../guides/testing.md).",
)

EXAMPLES = (FIRST_AGENT, TYPED_MESSAGES, CALLS, STEPS, PEOPLE, HAND_OVER, MONEY, TRIGGERS, TESTS)
"""In the order in which they are read."""
