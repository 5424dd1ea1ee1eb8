"""What `flow:` says in organism.yaml: steps as frozen models, one model for all kinds.

Which keys a kind of step has is told in `reading`; here only what each key can hold. One model says a mistyped key
once, with the nearest word, where a model for each kind would say it six times.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from xml_pipeline.llm.section import NAMES, Count, Seconds, Section
from xml_pipeline.marks import OPEN, up_to

MOST_AT_ONCE = 1_000
MOST_ITEMS = 10_000
MOST_ROUNDS = 1_000

_ListenerName = Annotated[str, Field(json_schema_extra={NAMES: "listeners"})]

Send = Annotated[
    str | dict[str, Any],
    Field(description='The message: `{Class: {field: value}}`, or a whole one as `"{{input}}"`.'),
]


class StepSection(Section):
    """One step: exactly one of `call`, `together`, `repeat`, `choose`, `delegate`, `answer`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    call: Annotated[_ListenerName | None, OPEN] = Field(
        None, description="The listener that is called; the step is over when its answer is there."
    )
    together: Annotated[tuple[StepSection, ...] | None, OPEN] = Field(
        None, description="Calls that are made at once; the step is over when all have ended."
    )
    repeat: Annotated[tuple[StepSection, ...] | None, OPEN] = Field(
        None, description="Steps that are done again and again, until `until` holds."
    )
    choose: Annotated[str | None, OPEN] = Field(
        None,
        description="What decides which of the `ways` is gone: a path to a declared word or a boolean, or a name, of"
        " which the class decides.",
    )
    delegate: Annotated[_ListenerName | None, OPEN] = Field(
        None,
        description="The listener that the call is handed over to: it answers the caller. It ends the flow.",
    )
    answer: Annotated[Send | None, OPEN] = Field(None, description="What the flow answers. It ends the flow.")
    send: Annotated[Send | None, OPEN] = Field(
        None, description='The message for `call` or `delegate`: `{Class: {field: value}}`, or `"{{path}}"`.'
    )
    as_: Annotated[str | None, OPEN] = Field(
        None, alias="as", description="The name under which the answer to `call` is known to later steps."
    )
    timeout_seconds: Annotated[Seconds | None, up_to(3600)] = Field(
        None,
        description="Seconds that a `call`, or all of `together`, may take; waiting for people does not count.",
    )
    if_fails: Annotated[str | dict[str, Any] | None, OPEN] = Field(
        None,
        description="What stands for the answer when the call fails: `absent`, or `{Class: {field: value}}` of a"
        " class that the listener answers. Without it the flow answers with the error. `budget`, `limit` and"
        " `interrupted` always end the flow.",
    )
    for_each: Annotated[str | None, OPEN] = Field(
        None,
        description="The name of one item: the `call` is made for each item of `of`, and `as` is the list.",
    )
    of: Annotated[str | None, OPEN] = Field(
        None, description='The list that `for_each` goes through, as `"{{draft.places}}"`.'
    )
    at_once: Annotated[Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] | None, up_to(64)] = Field(
        None, description="Calls of `for_each` that are open at once; 8 when absent."
    )
    max_items: Annotated[Annotated[int, Field(ge=1, le=MOST_ITEMS)] | None, up_to(1000)] = Field(
        None,
        description="Items that `for_each` takes; with more the flow ends with `limit`. 100 when absent.",
    )
    ways: Annotated[dict[str, tuple[StepSection, ...]] | None, OPEN] = Field(
        None, description="The steps for each value of `choose`; every one must be there."
    )
    until: Annotated[dict[str, str | int | bool] | None, OPEN] = Field(
        None, description="`{path: value}`: `repeat` ends directly after the step that makes it so."
    )
    at_most: Annotated[Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None, up_to(100)] = Field(
        None, description="Rounds of `repeat`."
    )
    otherwise: Annotated[Literal["fail", "go_on"] | None, OPEN] = Field(
        None,
        description="What happens after the last round of `repeat`: the flow ends with `limit` (`fail`, the default),"
        " or goes on.",
    )


KEYS: dict[str, tuple[str, ...]] = {
    "call": ("send", "as", "timeout_seconds", "if_fails", "for_each", "of", "at_once", "max_items"),
    "together": ("timeout_seconds",),
    "repeat": ("until", "at_most", "otherwise"),
    "choose": ("ways",),
    "delegate": ("send",),
    "answer": (),
}
"""The kinds of steps, and what else each may have."""

Steps = tuple[StepSection, ...]

__all__ = ["KEYS", "Count", "StepSection", "Steps"]
