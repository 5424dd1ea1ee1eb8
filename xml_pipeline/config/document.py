"""YAML text → plain data, with the place of every key and value.

The data is what JSON can hold (dict, list, str, int, float, bool, None). Plain scalars follow the core schema
of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): `no`, `on`, `2026-01-01` and `12:30` are text,
`1e3` is a number. Anchors and aliases work, merge keys do not; what they grow to is bounded by an `Allowance`, and so
is what is kept of the mistakes: a file that somebody made to be dear costs what an honest one costs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.scanner import Scanner

from xml_pipeline.config.variables import expand
from xml_pipeline.errors import Problem, cut
from xml_pipeline.llm.http.secrets import scrub
from xml_pipeline.regular import MAX_BYTES

Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 50
MAX_VALUES = 50_000
MAX_TEXT = 10_000_000
MAX_ALL_BYTES = 4_000_000
MAX_KEY = 1_000
MAX_PROBLEMS = 100

_TOO_MANY = f"has more than {MAX_VALUES:,} values (aliases counted each time they are used)"
_NO_MERGING = (
    "merges, and nothing is merged here: write the keys again, or what all agents have in `defaults.agents`"
)
_PLAIN = "plain"
_CORE = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_NUMBER = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BRACES = re.compile(r"[^\"'#]*[:,\[{-]\s*\{\{")
_BARE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TRUTHS = frozenset({"y", "yes", "n", "no", "on", "off"})  # https://yaml.org/type/bool.html
_SCALAR_TAGS = ("str", "int", "float", "bool", "null")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written; `path` is its path inside `file`, lines and columns count from 1."""

    file: str
    line: int
    column: int
    path: Path


@dataclass(slots=True)
class Allowance:
    """What an organism may still hold, all its files together and aliases counted each time they are used.

    Attributes:
        values: keys and values.
        text: characters in them, after variables are replaced.
        bytes: of the files.
    """

    values: int = MAX_VALUES
    text: int = MAX_TEXT
    bytes: int = MAX_ALL_BYTES

    @property
    def spent(self) -> bool:
        """Whether nothing more is read."""
        return min(self.values, self.text, self.bytes) < 0


@dataclass(slots=True)
class Document:
    """Plain data and where its parts are written.

    Attributes:
        data: what the text says; None when it could not be read.
        keys: for each path that is a mapping's entry, the place of its key.
        values: for each path, the place of its value.
        expanded: paths of texts that held `${…}`; they are typed by the key they stand for.
        hidden: those whose value came from the environment → the text as written.
        broken: paths that already have a problem, so that no second one follows from it.
        doubtful: paths of words without quotes that YAML 1.1, and many a reader of it, takes for truth values.
        problems: what is wrong so far, each once, at most `MAX_PROBLEMS`.
        more: how many problems there are beside those.
    """

    data: object = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    expanded: set[Path] = field(default_factory=set)
    hidden: dict[Path, str] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)
    doubtful: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    _told: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def found(self) -> int:
        """How many problems there are."""
        return len(self.problems) + self.more

    def add(self, message: str | Callable[[], str], place: Place, path: str | None = None) -> None:
        """Add a problem, with its key-like texts scrubbed; only count it when there are enough of them.

        Args:
            message: what is wrong; a function is called when it is needed, because near names are dear to find.
            place: where.
            path: as a person reads it; default: the place's own.
        """
        if len(self.problems) >= MAX_PROBLEMS:
            self.more += 1
            return
        text = message if isinstance(message, str) else message()
        shown = path_text(place.path) if path is None else path
        self._keep(Problem(_short(text), _short(shown), place.file, place.line, place.column))

    def _keep(self, problem: Problem) -> None:
        """Keep what was not told of this place yet: an alias repeats the mistakes of what it stands for."""
        where = (str(problem.line), str(problem.column)) if problem.line else (problem.path,)
        told = (problem.message, problem.file, *where)
        if told not in self._told:
            self._told.add(told)
            self.problems.append(problem)

    def report(self, path: Path, message: str | Callable[[], str], *, at_key: bool = False) -> None:
        """Add a problem at `path`, or at the nearest place above it that is written in the text."""
        if any(path[:length] in self.broken for length in range(len(path) + 1)):
            return
        for length in range(len(path), -1, -1):
            known = path[:length]
            if (at_key or length < len(path)) and known in self.keys:
                place = self.keys[known]
            elif known in self.values:
                place = self.values[known]
            else:
                continue
            self.add(message, place, path_text(place.path + path[length:]))
            return
        self.add(message, Place("", 0, 0, path))

    def cut_off(self, path: Path) -> None:
        """Forget the places below `path`, and at it: something else will stand there."""
        size = len(path)
        for known in (self.keys, self.values, self.hidden):
            for each in [each for each in known if each[:size] == path]:
                del known[each]
        for marked in (self.expanded, self.broken, self.doubtful):
            marked.difference_update([each for each in marked if each[:size] == path])

    def graft(self, part: Document, moved: Callable[[Path], Path | None]) -> None:
        """Take over the places and problems of `part`; `moved` tells where a path of it stands here, if it does."""
        self.keys.update({at: place for path, place in part.keys.items() if (at := moved(path)) is not None})
        self.values.update(
            {at: place for path, place in part.values.items() if (at := moved(path)) is not None}
        )
        self.expanded.update(at for path in part.expanded if (at := moved(path)) is not None)
        self.doubtful.update(at for path in part.doubtful if (at := moved(path)) is not None)
        self.hidden.update(
            {at: text for path, text in part.hidden.items() if (at := moved(path)) is not None}
        )
        self.broken.update(at for path in part.broken if (at := moved(path)) is not None)
        for problem in part.problems:
            if len(self.problems) < MAX_PROBLEMS:
                self._keep(problem)
            else:
                self.more += 1
        self.more += part.more

    def shown(self, path: Path, value: object) -> str:
        """`value` as an error may show it: as it is written when it came from the environment."""
        return cut(self.hidden.get(path, str(value)))


def _short(text: str) -> str:
    """Scrubbed before it is cut, because half a key is not known for one."""
    return cut(scrub(text), MAX_KEY)


def path_text(path: Path) -> str:
    """`("listeners", 2, "peers", 0)` as `listeners[2].peers[0]`."""
    text = ""
    for part in path:
        if isinstance(part, str) and _BARE_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part}]" if isinstance(part, int) else f'["{part}"]'
    return text


def read(
    text: str | bytes, *, file: str, environ: Mapping[str, str] | None, allowance: Allowance | None = None
) -> Document:
    """Read one YAML document. Never raises: what is wrong is in the document's `problems`.

    Without `environ` it may hold no variables.
    """
    document = Document()
    document.values[()] = Place(file, 1, 1, ())
    allowance = allowance or Allowance()
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        document.report((), f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
        return document
    allowance.bytes -= size
    if allowance.bytes < 0:
        document.report((), f"is not read: all files together have more than {MAX_ALL_BYTES:,} bytes")
        return document
    if isinstance(text, bytes):
        encoded = text
        try:
            text = encoded.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            head = encoded[: error.start].decode("utf-8", "replace")
            place = Place(file, head.count("\n") + 1, len(head) - head.rfind("\n"), ())
            document.add("is not UTF-8 text; save it as UTF-8", place)
            return document
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(document, file, environ, allowance).build(node, ())
    except (yaml.YAMLError, _Refused, ValueError, OverflowError, RecursionError) as error:
        document.data = None
        message, line, column = _syntax_problem(error, text, loader.get_mark() if loader else None)
        document.add(message, Place(file, line, column, ()))
    return document


class _Refused(Exception):
    """Something that YAML allows and this file may not have: too deep, or too much."""

    def __init__(self, message: str, mark: yaml.Mark | None) -> None:
        self.mark = mark
        super().__init__(message)


def _syntax_problem(error: Exception, text: str, reached: yaml.Mark | None) -> tuple[str, int, int]:
    """What is wrong, in which line and column; `reached` is where the reader was."""
    mark = reached
    if isinstance(error, _Refused):
        message, mark = str(error), error.mark
    elif isinstance(error, ReaderError):
        head = text[: error.position]
        line, column = head.count("\n") + 1, len(head) - head.rfind("\n")
        return "has a character that YAML does not allow; remove it", line, column
    elif isinstance(error, yaml.MarkedYAMLError):
        message = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        if "'\\t'" in message:
            message += "; YAML is indented with spaces, not tabs"
        elif "mapping values are not allowed here" in message:
            message += "; check the indentation, or quote a text that holds `: `"
        elif "but got '{'" in message:
            message += '; between braces and brackets write a variable in quotes: `"${NAME}"`'
        elif mark is not None and _BRACES.match(text[: mark.index].rpartition("\n")[2]):
            message += '; what holds `{{` is written in quotes: `"{{input}} and more"`'
        message = f"is no valid YAML: {message}"
    else:
        message = "is no valid YAML: an escape there stands for no character; write the character itself"
    return message, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1


class _Loader(Reader, Scanner, Parser, Composer):
    """PyYAML up to its node graph, with a bound on nesting; types are resolved by `_Builder`."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        self.depth = 0
        self.nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # untyped in the stubs
            raise _Refused(f"is nested deeper than {MAX_DEPTH} levels", mark)
        self.nodes += 1
        if self.nodes > MAX_VALUES:  # told before the rest of the file is read
            raise _Refused(_TOO_MANY, self.peek_event().start_mark)  # type: ignore[no-untyped-call] # as above
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if isinstance(implicit, tuple) and implicit[0] else f"{_CORE}str"
        return f"{_CORE}seq" if kind is yaml.SequenceNode else f"{_CORE}map"

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        """Part of what a composer asks of its resolver; path resolvers are not used here."""

    def ascend_resolver(self) -> None:
        """As `descend_resolver`."""


class _Builder:
    """Nodes → plain data, noting places; counts what it builds, because aliases multiply."""

    def __init__(
        self, document: Document, file: str, environ: Mapping[str, str] | None, allowance: Allowance
    ) -> None:
        self._document = document
        self._file = file
        self._environ = environ
        self._allowance = allowance

    def build(self, node: yaml.Node, path: Path) -> object:
        self._count(node)
        if len(path) > MAX_DEPTH:
            raise _Refused(
                f"is nested deeper than {MAX_DEPTH} levels, or an alias holds itself", node.start_mark
            )
        self._document.values[path] = self._place(node, path)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in (_PLAIN, *(_CORE + tag for tag in _SCALAR_TAGS)):
            return self._scalar(node, path)
        self._fail(path, f"has the tag `{node.tag}`; tags are not used in this file, remove it")
        return None

    def _count(self, node: yaml.Node) -> None:
        self._allowance.values -= 1
        if self._allowance.values < 0:
            raise _Refused(_TOO_MANY, node.start_mark)

    def _count_text(self, size: int, node: yaml.Node) -> None:
        self._allowance.text -= size
        if self._allowance.text < 0:
            message = (
                f"has more than {MAX_TEXT:,} characters of text (aliases and variables counted each time they are"
                " used)"
            )
            raise _Refused(message, node.start_mark)

    def _place(self, node: yaml.Node, path: Path) -> Place:
        mark = node.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1, path)

    def _fail(self, path: Path, message: str) -> None:
        self._document.report(path, message)
        self._document.broken.add(path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, value in node.value:
            if key.tag == _PLAIN and key.value == "<<":
                self._document.add(_NO_MERGING, self._place(key, (*path, "<<")))
                self._document.broken.add(path)  # what it would have brought is not missed
                continue
            name = self._key(key, path)
            if name is None:
                continue
            here = (*path, name)
            if name in result:
                first = self._document.keys[here].line
                message = f"the key `{cut(name)}` is here twice (first in line {first}); remove one"
                self._document.add(message, self._place(key, here))
                continue
            self._document.keys[here] = self._place(key, here)
            result[name] = self.build(value, here)
        return result

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if (template := _template(node)) is not None:
            quoted = template.replace("\\", "\\\\").replace('"', '\\"')
            self._fail(
                path, f'begins with braces, which YAML takes for a mapping; put it into quotes: "{quoted}"'
            )
            return None
        if not isinstance(node, yaml.ScalarNode) or not node.value or _SURROGATE.search(node.value):
            self._document.add("has a key that is not a text; keys are words", self._place(node, path))
            return None
        if len(node.value) > MAX_KEY:
            message = f"has a key of {len(node.value):,} characters; keys have at most {MAX_KEY:,}"
            self._document.add(message, self._place(node, path))
            return None
        self._count(node)
        self._count_text(len(node.value), node)
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        expansion = expand(node.value, self._environ, most=self._allowance.text)
        self._count_text(expansion.size, node)
        if expansion.replaced:
            self._document.expanded.add(path)
        if expansion.used_environment:
            self._document.hidden[path] = node.value
        for message in expansion.problems:
            self._document.report(path, message)
        if expansion.problems:
            self._document.broken.add(path)
            return None
        text = expansion.text
        if _SURROGATE.search(text):
            self._fail(path, "holds half of a surrogate pair, which is no character")
            return None
        if node.tag == _PLAIN:
            if text.lower() in _TRUTHS:
                self._document.doubtful.add(path)
            return text if expansion.replaced else plain_value(text)
        wanted = node.tag.removeprefix(_CORE)
        value = text if wanted == "str" else plain_value(text)
        kinds: dict[str, type | tuple[type, ...]] = {
            "str": str,
            "int": int,
            "float": (int, float),
            "bool": bool,
            "null": type(None),
        }
        if not isinstance(value, kinds[wanted]):
            self._fail(path, f"is tagged `!!{wanted}` and is no {wanted}; remove the tag")
            return None
        return value


def _template(key: yaml.Node) -> str | None:
    """`{{input}}` as it is written, where braces without quotes made its inside the key of a mapping."""
    text, start, end = key.start_mark.buffer, key.start_mark.pointer, key.end_mark.pointer
    if not isinstance(key, yaml.MappingNode) or not text or text[start - 1] != "{" or text[end] != "}":
        return None
    return " ".join(str(text[start - 1 : end + 1]).split())


def plain_value(text: str) -> object:
    """What an unquoted scalar means in the YAML 1.2 core schema; numbers beyond reason stay text."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if len(text) > 100:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
    if _NUMBER.fullmatch(text):
        return float(text)
    special = _SPECIAL_NUMBER.fullmatch(text)
    if special is None:
        return text
    return float("nan") if special.group(3) else float(f"{special.group(1)}inf")
