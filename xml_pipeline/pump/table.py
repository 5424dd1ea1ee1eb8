"""Whether listeners fit together: each that is named is there, and what is promised holds over hand-overs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xml_pipeline.errors import ConfigError, Problem, did_you_mean, listing
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.offload import why_no_process


def check_table(listeners: Mapping[str, Listener], organism: str, default: str | None) -> None:
    """Raises ConfigError, with each thing that does not fit.

    Args:
        listeners: all by name.
        organism: its name.
        default: its default listener, if it has one.
    """
    problems = [Problem(text) for text in _problems(listeners, organism, default)]
    if problems:
        raise ConfigError(problems)


def _problems(listeners: Mapping[str, Listener], organism: str, default: str | None) -> Iterator[str]:
    wanted = [
        (f"listener '{each.name}'", name)
        for each in listeners.values()
        for name in (*each.peers, *each.hands_over_to)
    ]
    if default is not None:
        wanted.append((f"the default of '{organism}'", default))
    for who, name in wanted:
        if name not in listeners:
            hint = did_you_mean(name, listeners)
            yield f"{who} names '{name}', but there is no such listener{hint}"
    for each in listeners.values():
        if each.cpu_bound and each.handler is not None and (why := why_no_process(each.handler)):
            yield (
                f"listener '{each.name}' is cpu_bound, but no other process can find its handler ({why});"
                " make it a function at the top of a module"
            )
        if each.approve and not ((person := listeners.get(each.approve)) is not None and person.human):
            yield (
                f"'{each.approve}' approves what '{each.name}' does, and is no person; people are"
                f" {listing(one.name for one in listeners.values() if one.human) or 'nobody'}"
            )
        for name in each.hands_over_to:
            target = listeners.get(name)
            if target is not None and (more := beyond(each.answers, target.answers)):
                yield (
                    f"listener '{each.name}' answers {_names(each.answers)}, and hands over to '{name}', which may"
                    f" answer {listing(more)} too; name that in its `answers`, or hand over to another one"
                )


def beyond(answers: tuple[type, ...] | None, others: tuple[type, ...] | None) -> list[str]:
    """What of the answers of a target is none of whoever hands over to it; None is what is not declared."""
    return [cls.__name__ for cls in others or () if answers is not None and cls not in answers]


def _names(classes: tuple[type, ...] | None) -> str:
    return listing([cls.__name__ for cls in classes or ()])
