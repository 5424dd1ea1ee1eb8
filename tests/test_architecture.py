"""The shape of the tree that a stranger relies on: sizes, globals, imports, public names."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import xml_pipeline

PACKAGE = Path(xml_pipeline.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 750
LONGEST_FUNCTION = 80


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


def test_the_default_router_is_the_only_global() -> None:
    statements = {
        (name(path), target)
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Global)
        for target in node.names
    }
    assert statements == {("llm/default.py", "_default")}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree(path))


def test_public_names() -> None:
    assert xml_pipeline.__all__ == sorted(xml_pipeline.__all__)
    for public in xml_pipeline.__all__:
        value = getattr(xml_pipeline, public)
        assert value.__doc__, public
    assert set(xml_pipeline.__all__) <= set(dir(xml_pipeline))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Organizm'"):
        _ = xml_pipeline.Organizm


@pytest.mark.parametrize("heavy", ["httpx", "aiohttp", "genai_prices", "prompt_toolkit", "pebble"])
def test_import_stays_light(heavy: str) -> None:
    code = (
        f"import sys; from xml_pipeline import Organism, xmlify, complete; sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- imports ---


def module_name(path: Path) -> str:
    parts = ["xml_pipeline", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(node: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Own modules that are imported, and whether within a function; what only type checkers see is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and type_checking(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((each.name, lazy) for each in child.names if each.name in MODULES)
        elif isinstance(child, ast.ImportFrom) and child.module is not None:
            for each in child.names:
                whole = f"{child.module}.{each.name}"
                if (found := whole if whole in MODULES else child.module) in MODULES:
                    yield found, lazy
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(child, lazy or inside)


IMPORTS = {module: set(imports(tree(path))) - {(module, False)} for module, path in MODULES.items()}

CLOSES_A_CIRCLE = {
    (
        "xml_pipeline.llm.router",
        "xml_pipeline.llm.settings",
    ): "configure_router takes a mapping, which settings read",
}
"""Imports within functions that would close a circle, and why they may."""


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The first circle of a graph; [] when there is none."""
    state: dict[str, bool] = {}
    path: list[str] = []

    def visit(node: str) -> list[str]:
        state[node] = True
        path.append(node)
        for other in sorted(graph.get(node, ())):
            if state.get(other):
                return [*path[path.index(other) :], other]
            if other not in state and (found := visit(other)):
                return found
        path.pop()
        state[node] = False
        return []

    return next((found for node in sorted(graph) if node not in state and (found := visit(node))), [])


def test_no_module_imports_itself_over_others() -> None:
    assert (
        circle({module: {other for other, lazy in found if not lazy} for module, found in IMPORTS.items()})
        == []
    )


def test_imports_within_functions_close_no_circle_without_a_reason() -> None:
    graph = {
        module: {other for other, lazy in found if not (lazy and (module, other) in CLOSES_A_CIRCLE)}
        for module, found in IMPORTS.items()
    }
    assert circle(graph) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": ["b"], "b": ["c", "d"], "d": ["b"], "c": []}) == ["b", "d", "b"]


# --- pure parts ---

CONTRACT = next(
    each
    for each in tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    if each["id"] == "pure"
)
PURE = {
    module: path
    for module, path in MODULES.items()
    if any(module == part or module.startswith(f"{part}.") for part in CONTRACT["source_modules"])
}
LIVE = {
    "AbstractEventLoop", "Future", "Handle", "Semaphore", "Task", "TaskGroup", "TimerHandle", "asyncio", "call_at",
    "call_later", "call_soon", "call_soon_threadsafe", "create_future", "create_task", "ensure_future",
    "get_event_loop", "get_running_loop", "run_coroutine_threadsafe", "run_in_executor", "wait_for", "wrap_future",
}  # fmt: skip
TELLTALE = re.compile(r"timer|future|task|alarm|handle$|loop", re.IGNORECASE)


def words(node: ast.AST) -> Iterator[str]:
    """Every name in a module: identifiers, attributes, what is imported, and annotations that are texts."""
    for each in ast.walk(node):
        match each:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word):
                yield word
            case ast.alias(name=word):
                yield from word.split(".")
            case ast.AnnAssign(annotation=ast.Constant(value=str(text))):
                yield from re.findall(r"\w+", text)


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_parts_hold_nothing_alive(module: str) -> None:
    parsed = tree(PURE[module])
    assert not LIVE & set(words(parsed))
    assert not [node for node in ast.walk(parsed) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    hidden = [
        ast.unparse(node)
        for node in ast.walk(parsed)
        if isinstance(node, ast.AnnAssign)
        and TELLTALE.search(ast.unparse(node.target))
        and re.search(r"\b(Any|object)\b", ast.unparse(node.annotation))
    ]
    assert not hidden, "what may be alive under a name that does not say so"


def reached(start: str) -> set[str]:
    """A module and those that it imports, and they, …; packages' own __init__ left out."""
    found: set[str] = set()
    following = [start]
    while following:
        module = following.pop()
        if module not in found:
            found.add(module)
            following += [other for other, lazy in IMPORTS[module] if not lazy]
    return found


@pytest.mark.parametrize(
    "start", ["xml_pipeline.pump.machine", "xml_pipeline.threads.state", "xml_pipeline.journal.protocol"]
)
def test_the_contract_names_every_pure_part(start: str) -> None:
    assert reached(start) - set(PURE) == set()
    assert {"asyncio", "httpx", "aiohttp", "sqlite3", "socket"} <= set(CONTRACT["forbidden_modules"])


def test_every_package_of_the_design_that_is_pure_is_in_the_contract() -> None:
    assert {"xml_pipeline.payload", "xml_pipeline.envelope", "xml_pipeline.threads"} <= set(
        CONTRACT["source_modules"]
    )
    assert not [part for part in CONTRACT["source_modules"] if part not in MODULES], "a part that is no more"


# --- the public surface ---

SURFACE = {
    "xml_pipeline": """
        AnswerError Approval AskTimeout BackendError BudgetExceededError ConfigError Gathered HandlerMetadata
        HandlerResponse Huh Keep NoReply Organism PayloadError SystemError XmlPipelineError complete complete_sync
        extract_payloads once stream stream_sync xmlify
    """,
    "xml_pipeline.agents": """
        MAX_CORRECTIONS AgentSettings Answer BadCall Bounds Exchange Fault LLMAgent PeerCall Prompt Reader Reading
        RememberedTask Result Round Skill Task Tool Toolbox agent_listener
    """,
    "xml_pipeline.envelope": """
        BrokenRule Code ENVELOPE_NS ENVELOPE_XSD Envelope Extraction Found Gathered GatheredCodec Heading Huh META_NS
        Message SYSTEM SystemError CODES codec_for complaint decode extract_payloads is_error
    """,
    "xml_pipeline.journal": "Durable Journal Kept OpenConversation Step Uptime",
    "xml_pipeline.llm": """
        Attempt AuthenticationError Backend BackendError BackendStatus BackendTimeoutError Budget BudgetExceededError
        Budgets ConnectionFailedError ContentPolicyError ContextWindowError InvalidRequestError LLMError LLMRequest
        LLMResponse MalformedAnswerError ModelNotFoundError NoBackendError OverloadedError PROVIDER_CLASSES Price
        QuotaExhaustedError RateLimitedError ReasoningDelta Router ServerError StreamEnd StreamEvent
        StructuredOutputError TextDelta Timeouts ToolCall ToolCallDelta ToolSpec TransportSettings Usage UsageTotals
        complete complete_sync configure_router forbid_real_requests get_router stream stream_sync use_router
    """,
    "xml_pipeline.pump": """
        Approval Attaching ConversationLimits DeadLetter GatherResponse Handler HandlerMetadata HandlerResponse Keep
        Listener ListenerOptions Machine Pump PumpSettings Surroundings listener once
    """,
    "xml_pipeline.testing": """
        Recorder Rule ScriptedBackend VirtualTimeLoop forbid_real_requests run_in_virtual_time scripted_router
    """,
    "xml_pipeline.threads": "Conversation DeadLetter Entry Event Gather OutsideSession State Thread lineage",
}
"""What users import. A name that goes or comes is a line in the changelog."""


@pytest.mark.parametrize("package", sorted(SURFACE))
def test_the_public_surface_is_what_it_was(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(SURFACE[package].split())
    assert all(hasattr(module, public) for public in module.__all__)


# --- tests are found by the name of their module ---

ELSEWHERE = {
    "envelope.gathered": "with what is gathered: pump/test_returns, pump/test_machine",
    "envelope.system": "with the errors that it words: pump/test_errors_arrive",
    "envelope.thinking": "with the other repairs: envelope/test_repairs",
    "journal.durable": "is a protocol: journal/test_recovery",
    "journal.file": "by what it opens and refuses: journal/test_sqlite",
    "journal.following": "by what a command shows: cli/test_keeping",
    "journal.history": "by what commands show: cli/test_history",
    "journal.looking": "by the budgets that are told with it: door/test_caps",
    "journal.owner": "by whom it keeps out: journal/test_sqlite, journal/test_recovery",
    "journal.protocol": "is a protocol: journal/test_seam",
    "journal.space": "by what is deleted and folded: journal/test_changes, cli/test_keeping",
    "journal.span": "by what is written with it: config/test_effects, cli/test_keeping",
    "journal.triggered": "by what fires: arming/test_armed",
    "pump.addressing": "by what it allows: pump/test_authority",
    "pump.admission": "by what it is for: pump/test_backpressure",
    "pump.causes": "by what is replayed: journal/test_replay, journal/test_replay_model",
    "pump.endings": "with the other rules: pump/test_machine",
    "pump.table": "by what it refuses: pump/test_authority, config/test_contracts",
    "pump.failures": "by what arrives: pump/test_errors_arrive",
    "pump.keys": "by who joins what: journal/test_recovery",
    "pump.parts": "by what is done once: journal/test_once",
    "pump.prospects": "by what becomes of it: journal/test_prospects",
    "pump.reasons": "are texts: pump/test_machine",
    "pump.recovery": "by what goes on: journal/test_recovery",
    "pump.replay": "with real journals: journal/test_replay, journal/test_replay_model",
    "pump.sleepers": "by who sleeps and comes back: journal/test_sleepers, journal/test_recovery",
    "pump.tenant": "is a protocol: journal/test_calls",
    "pump.texts": "by what a model may write: pump/test_returns, pump/test_authority",
    "pump.facts": "are values, each with a rule: pump/test_machine",
    "pump.instructions": "with the prompts that they are part of: agents/test_prompt",
    "pump.log": "by what it withstands: pump/test_hostile",
    "pump.loop": "by its behaviour: pump/test_returns, test_people, test_shutdown and journal/test_seam",
    "pump.response": "by what may be returned: pump/test_returns, pump/test_errors_arrive",
    "pump.runners": "by whose turn it is: pump/test_scheduling, pump/test_context, pump/test_bounds",
    "pump.handler_call": "by what a handler sees of it: pump/test_context",
    "threads.phases": "with the machine: pump/test_machine_model",
    "threads.record": "are values: threads/test_state",
}
"""Modules whose tests have another name, and where they are."""


def test_tests_are_found_by_the_name_of_their_module() -> None:
    tests = Path(__file__).parent
    missing, found = set(), set()
    for package in ("envelope", "journal", "pump", "threads"):
        for path in sorted((PACKAGE / package).glob("*.py")):
            if path.stem != "__init__":
                exists = (tests / package / f"test_{path.stem}.py").exists()
                (found if exists else missing).add(f"{package}.{path.stem}")
    assert missing == set(ELSEWHERE) - found
    assert not found & set(ELSEWHERE), "these have tests of their own name: no reason is needed any more"
