"""A case is played: its organism is built without a journal, with the script in the place of the world.

Offline all of it happens in virtual time, with scripted models, and a connection that a handler opens is refused.
With a cap in USD the models are real, and the time; people and stand-ins stay scripted.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from xml_pipeline import events
from xml_pipeline.cases.cast import Cast, in_thread, plays
from xml_pipeline.cases.expecting import ending_of, in_answer, in_calls, in_cost
from xml_pipeline.cases.outcome import Outcome
from xml_pipeline.cases.script import NothingToSay, Script
from xml_pipeline.composition import limits_of, listeners_of, settings_of
from xml_pipeline.config import OrganismConfig
from xml_pipeline.config.cases import CaseSection, class_and_fields
from xml_pipeline.envelope import Gathered
from xml_pipeline.errors import BudgetExceededError, XmlPipelineError, cut
from xml_pipeline.llm import Router, forbid_real_requests
from xml_pipeline.llm.section import BackendSection, BudgetSection, build_router
from xml_pipeline.organism import Organism
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import Listener
from xml_pipeline.testing import VirtualTimeLoop

LONGEST = 10 * 365 * 86_400.0  # virtual seconds after which nothing comes any more
SHOWN = 300  # characters of a message in a trace


@dataclass(slots=True)
class Cap:
    """What real models may cost, all cases together.

    Attributes:
        usd: the cap.
        spent: so far.
        used_up: whether a call was refused because of it; then nothing further is played.
    """

    usd: float
    spent: float = 0.0
    used_up: bool = False

    @property
    def left(self) -> float:
        """USD that may still be spent."""
        return max(0.0, self.usd - self.spent)


class _OfflineLoop(VirtualTimeLoop):
    """Virtual time, and no network: what a test says must not depend on who answers."""

    async def create_connection(self, *args: Any, **options: Any) -> NoReturn:
        raise OSError(_NO_NETWORK)

    async def getaddrinfo(self, *args: Any, **options: Any) -> NoReturn:
        raise OSError(_NO_NETWORK)

    async def sock_connect(self, *args: Any) -> NoReturn:
        raise OSError(_NO_NETWORK)


_NO_NETWORK = "there is no network in a test: let the script answer for this listener"


def played(config: OrganismConfig, case: CaseSection, cap: Cap | None = None) -> Outcome:
    """Play a case once.

    Args:
        config: the organism's, with everything imported.
        case: one of its `tests`.
        cap: for real models; None for those of the script.

    Raises:
        ConfigError: the organism cannot be built.
    """
    if cap is not None:
        with asyncio.Runner() as runner:
            return runner.run(_played(config, case, cap))
    with forbid_real_requests(), asyncio.Runner(loop_factory=_OfflineLoop) as runner:
        return runner.run(_played(config, case, None))


async def _played(config: OrganismConfig, case: CaseSection, cap: Cap | None) -> Outcome:
    declared = {each.name: each for each in listeners_of(config)}
    script = Script(case.script)
    cast = Cast(script, declared)
    router = _scripted(config, cast) if cap is None else _real(config, cap)
    listeners = [_playing(config, case, cast, each) for each in declared.values()]
    section = config.organism
    limits, wire_limits = limits_of(section)
    organism = Organism(
        section.name,
        listeners,
        settings=settings_of(section),
        limits=limits,
        wire_limits=wire_limits,
        shutdown_seconds=0,
        router=router,
        payloads=config.classes,
    )
    seen = _Seen(organism, cast, cap)
    organism.add_hook(seen)
    root, fields = class_and_fields(case.send, "Task")
    async with organism:
        came = await _asked(organism, case.to, {root: fields}, cast, None if cap else LONGEST)
    if cap is not None:
        cap.spent += seen.usd
    problems = [*cast.problems]
    if not problems:
        problems += in_answer(case.expect, came)
        problems += in_calls(case.expect, seen.called)
        problems += in_cost(case.expect, seen.tokens, None if seen.unpriced else seen.usd)
        if cap is None:
            problems += script.left_over()
    if cap is not None and problems and (cap.left <= 0 or seen.refused or _by_budget(config, came)):
        cap.used_up = True
    usd = None if seen.unpriced else seen.usd
    return Outcome(tuple(problems), tuple(cast.trace), seen.tokens, usd, cap is not None and cap.used_up)


async def _asked(organism: Organism, to: str, message: Any, cast: Cast, timeout: float | None) -> Any:
    """The answer, or the error that came instead; None when the script has nothing more to say."""
    asking = asyncio.ensure_future(organism.ask(to, message, timeout=timeout))
    stopped = asyncio.ensure_future(cast.stopped.wait())
    await asyncio.wait({asking, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not asking.done():
        asking.cancel()
        with suppress(asyncio.CancelledError, XmlPipelineError):
            await asking
        return None
    try:
        return asking.result()
    except XmlPipelineError as error:
        return error


def _playing(config: OrganismConfig, case: CaseSection, cast: Cast, each: Listener) -> Listener:
    entry = next(entry for entry in config.listeners if entry.name == each.name)
    how = plays(entry, case.script.get(each.name))
    if how == "stand-in":
        return cast.stand_in(each)
    return cast.not_played(each) if how == "not played" else in_thread(each)


def _scripted(config: OrganismConfig, cast: Cast) -> Router:
    """The router of the file with one backend that says the script's lines, whatever model is asked for."""
    section = config.llm.model_copy(
        update={
            "backends": (BackendSection(provider="scripted", name="script"),),
            "ledger": None,
            "retries": 0,
            "hedge_after": None,
            "strategy": "failover",
        }
    )
    router = build_router(section.observed_by(None), environ={}, base=config.base, name=config.organism.name)
    backend: Any = router.backends["script"]
    backend.rules = cast.rules()
    return router


def _real(config: OrganismConfig, cap: Cap) -> Router:
    """The router of the file, which may spend what is left."""
    budgets = config.llm.budgets
    limit = BudgetSection(usd=cap.left)
    budgets = budgets.model_copy(update={"organism": (*budgets.organism, limit)})
    section = config.llm.model_copy(update={"budgets": budgets, "ledger": None})
    return build_router(
        section.observed_by(None), environ=config.environ, base=config.base, name=config.organism.name
    )


def _refusal(usd: float) -> str:
    """How the refusal of a call begins that would pass the cap."""
    error = BudgetExceededError("organism", limit=usd, spent=0, requested=0, unit="usd")
    return str(error).partition(";")[0]


def _by_budget(config: OrganismConfig, came: Any) -> bool:
    """Whether a budget ended the run, and it can only be the cap."""
    budgets = config.llm.budgets
    own = (budgets.organism, budgets.agents, budgets.thread, budgets.conversation, budgets.operations)
    return isinstance(came, XmlPipelineError) and ending_of(came)[0] == "budget" and not any(own)


class _Seen:
    """What observers are told, as far as an expectation or a reader needs it; it also lets people answer."""

    def __init__(self, organism: Organism, cast: Cast, cap: Cap | None) -> None:
        self._offline = cap is None
        self._refusal = _refusal(cap.left if cap else 0.0)
        self._organism = organism
        self._cast = cast
        self.called: list[str] = []
        self.tokens = 0
        self.usd = 0.0
        self.unpriced = False
        self.refused = False

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.MessageDelivered():
                self._cast.told(f"{event.from_id} → {event.to}  {shown(event.payload)}")
            case events.ThreadOpened():
                self.called.append(event.listener)
            case events.HandlerFailed():
                self._cast.told(f"  {event.listener} failed ({event.code}): {event.error}")
                self.refused |= self._refusal in event.error
            case events.MessageRefused():
                self._cast.told(f"  {event.from_id} → {event.to} was refused ({event.code}): {event.reason}")
            case events.LLMCalled() if not (self._offline and event.error):
                self.tokens += event.prompt_tokens + event.completion_tokens
                self.usd += event.cost or 0.0
                self.unpriced |= event.cost is None
            case events.QuestionAsked():
                asyncio.get_running_loop().call_soon(self._people)

    def _people(self) -> None:
        for question in self._organism.questions():
            try:
                answer = self._cast.person(question.listener, question.payload)
                self._organism.answer(question.thread_id, answer)
            except (NothingToSay, XmlPipelineError) as wrong:
                self._cast.stop(str(wrong))
                return
            self._cast.told(f"  {question.listener}, a person: {shown(answer)}")


def shown(payload: Any) -> str:
    """A message in a line, as far as it fits."""
    if isinstance(payload, Gathered):
        return "Gathered " + "; ".join(
            "(no answer)" if each is None else shown(each) for each in payload.answers
        )
    codec = codec_of(type(payload))
    fields = ", ".join(f"{name}: {value}" for name, value in codec.to_json(payload).items())
    return cut(f"{codec.root} {fields}", SHOWN)
