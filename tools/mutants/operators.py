"""The faults: what may be changed in a source text, one at a time. Pure."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
NEGATED = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)  # by their own operator already

# What is no behaviour, or whose change every import would notice.
NOT_ENTERED = (ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr, ast.pattern)
DECLARATIONS = {"annotation", "returns", "decorator_list", "bases", "keywords of a class"}

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Site: TypeAlias = tuple[ast.expr | ast.stmt, Function | None, str, str]


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        path: the file, below the tree's root.
        function: the first line of the innermost function around it, 0 outside functions.
        name: that function's; "" outside.
        line: where it is.
        operator: what kind of fault it is.
        was, becomes: the changed lines before and after, without indentation.
        source: the whole file with the fault.
    """

    path: str
    function: int
    name: str
    line: int
    operator: str
    was: str
    becomes: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it as long as its own lines stay, wherever they move."""
        return self.path, self.name, self.was, self.becomes


def sample(mutants: Iterable[Mutant], number: int, seed: int) -> list[Mutant]:
    """Some of the mutants: always the same for a seed, and a change elsewhere in the file draws no others."""

    def lot(mutant: Mutant) -> bytes:
        return hashlib.sha256(repr((seed, mutant.key)).encode()).digest()

    return sorted(mutants, key=lot)[:number]


def mutants_of(path: str, source: str) -> Iterator[Mutant]:
    """All faults of a file, in the order of its text."""
    lines = source.encode().splitlines(keepends=True)  # the columns of the syntax tree count bytes
    seen = set()
    for node, function, operator, text in _sites(ast.parse(source), None):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        changed = before + text.encode() + after
        if (first, last, changed) in seen:
            continue
        seen.add((first, last, changed))
        yield Mutant(
            path,
            0 if function is None else min(each.lineno for each in (function, *function.decorator_list)),
            "" if function is None else function.name,
            node.lineno,
            operator,
            _plain(b"".join(lines[first : last + 1])),
            _plain(changed),
            b"".join((*lines[:first], changed, *lines[last + 1 :])).decode(),
        )


def _plain(text: bytes) -> str:
    return " ".join(line.strip() for line in text.decode().splitlines())


def _sites(node: ast.AST, function: Function | None) -> Iterator[Site]:
    """Each node that can be changed: itself, its function, the operator, and the text that takes its place."""
    if isinstance(node, NOT_ENTERED) or (
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ):
        return
    if isinstance(node, ast.expr | ast.stmt):
        for operator, text in _changes(node):
            yield node, function, operator, text
    inner = node if isinstance(node, Function) else function
    for field, value in ast.iter_fields(node):
        where = f"{field} of a class" if isinstance(node, ast.ClassDef) else field
        if field in DECLARATIONS or where in DECLARATIONS:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _tests(field, child, function)
                yield from _sites(child, inner if field == "body" else function)


def _tests(field: str, test: ast.AST, function: Function | None) -> Iterator[Site]:
    """The condition of a branch, the other way round."""
    if field not in ("test", "ifs") or not isinstance(test, ast.expr) or isinstance(test, ast.Constant):
        return
    by_itself = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], NEGATED)
    if not by_itself and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
        yield test, function, "negate", f"(not ({ast.unparse(test)}))"


def _changes(node: ast.expr | ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                changed = copy.copy(node)
                changed.ops = [*node.ops[:place], COMPARISONS[type(operator)](), *node.ops[place + 1 :]]
                yield "comparison", f"({ast.unparse(changed)})"
        case ast.BoolOp():
            changed_op = copy.copy(node)
            changed_op.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "and/or", f"({ast.unparse(changed_op)})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", f"({ast.unparse(operand)})"
        case ast.BinOp() if type(node.op) in ARITHMETIC and not _of_text(node.left, node.right):
            changed_bin = copy.copy(node)
            changed_bin.op = ARITHMETIC[type(node.op)]()
            yield "arithmetic", f"({ast.unparse(changed_bin)})"
        case ast.AugAssign() if type(node.op) in ARITHMETIC and not _of_text(node.value):
            changed_aug = copy.copy(node)
            changed_aug.op = ARITHMETIC[type(node.op)]()
            yield "arithmetic", ast.unparse(changed_aug)
            yield "drop", "pass"
        case ast.Constant(value=bool() as value):
            yield "constant", repr(not value)
        case ast.Constant(value=int() as number):
            yield "constant", repr(number + 1)
            yield "constant", repr(number - 1)
        case ast.Constant(value=float() as number):
            yield "constant", repr(number + 1)
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            changed_call = copy.copy(node)
            changed_call.func = ast.Name(CALLS[name])
            yield "min/max", ast.unparse(changed_call)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield "return None", "return None"
        case (
            ast.Expr(value=ast.Call() | ast.Await())
            | ast.Raise()
            | ast.Delete()
            | ast.Break()
            | ast.Continue()
        ):
            yield "drop", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "drop", "pass"


def _of_text(*operands: ast.expr) -> bool:
    """Whether an operand is a text or a sequence as written: a changed operator would only raise."""
    return any(
        isinstance(each, ast.JoinedStr | ast.List | ast.Tuple)
        or (isinstance(each, ast.Constant) and isinstance(each.value, str | bytes))
        for each in operands
    )
