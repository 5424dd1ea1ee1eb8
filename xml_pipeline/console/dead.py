"""`/dead`: messages that ended without a receiver; with a journal by their numbers, to be sent again or dropped.

What is changed goes through the organism's own door, as it does for commands of other processes: one way, one desk.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from xml_pipeline.console.earlier import reading
from xml_pipeline.console.parse import InputError
from xml_pipeline.console.people import SHOWN_ID
from xml_pipeline.console.signals import KEEP_IT
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.history import Letter, dead_letter, dead_letters
from xml_pipeline.terminal import Line, labelled, line, lines

SHOWN = 20

_WORDS = re.compile(r"(?:(retry|drop)\s+)?(\d{1,18}|all)")


def page(journal: Path) -> list[Line]:
    """The newest letters. Raises JournalError."""
    with reading(journal) as connection:
        letters = dead_letters(connection, most=SHOWN)
    if not letters:
        return [line(("dim", "no dead letters"))]
    how = "/dead NUMBER shows one, /dead retry NUMBER sends it again, /dead drop NUMBER forgets it"
    return [*map(_row, letters), line(("dim", how))]


def shown(journal: Path, number: int) -> list[Line]:
    """One letter, with what it says. Raises JournalError."""
    with reading(journal) as connection:
        found, said = dead_letter(connection, number)
    return [_row(found), *labelled(line("      "), lines(said))]


def _row(each: Letter) -> Line:
    what = each.what
    about = f"{what.name} in {each.conversation[:SHOWN_ID]}"
    return line(
        ("name", f"{each.number:>4}  {what.from_id} → {what.to}"), ("dim", f"  {about}"), f"  {what.content}"
    )


async def changed(journal: Path, verb: str, number: int | None) -> list[Line]:
    """Send letters again, or drop them: one, or all (None). Raises XmlPipelineError."""
    from xml_pipeline.door.client import Nobody, told
    from xml_pipeline.door.requests import Drop, Retry
    from xml_pipeline.door.requests import line as said

    request = Retry(number) if verb == "retry" else Drop(number)
    try:
        answer = await asyncio.to_thread(told, journal, said(request))
    except Nobody as nobody:
        raise JournalError(f"the organism takes no requests: {nobody}") from None
    return [line(each) for each in answer.rows]


def wanted(rest: str, journal: Path | None) -> tuple[str, int | None, Path]:
    """What `/dead …` wants: `list`, `show`, `retry` or `drop`; which letter (None: all); and where it is.

    Raises:
        InputError: it is none of these, or there is no journal.
    """
    if journal is None:
        raise InputError(f"only with a journal do dead letters have numbers; {KEEP_IT}")
    if not rest:
        return "list", None, journal
    found = _WORDS.fullmatch(rest)
    if found is None or (found[1] is None and found[2] == "all"):
        raise InputError("write /dead, /dead NUMBER, /dead retry NUMBER or /dead drop NUMBER (or `all`)")
    return found[1] or "show", None if found[2] == "all" else int(found[2]), journal
