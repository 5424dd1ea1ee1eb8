"""Questions that wait for a person, from any terminal: `questions`, `answer`."""

from __future__ import annotations

import argparse

from xml_pipeline.cli.command import argument, command, config
from xml_pipeline.cli.history import AS_JSON, WHERE, fields_of, opened, when
from xml_pipeline.cli.keeping import changed
from xml_pipeline.terminal import json_text, line, plain

SHOWN = 13
"""Characters of a thread id that are shown, as of a conversation's."""


@command("questions", "list the questions that wait for a person, with their threads", AS_JSON, WHERE)
def questions(arguments: argparse.Namespace) -> int:
    """Print a line for each."""
    from xml_pipeline.journal.asked import waiting

    found = list(waiting(opened(arguments)))
    if arguments.json:
        print(json_text([fields_of(each) for each in found]))
        return 0
    if not found:
        print("no questions")
    for each in found:
        content = " ".join(each.content.split())
        about = f"{each.thread[:SHOWN]}  {when(each.at)}  {each.caller} → {each.listener}"
        if each.approver:
            about += f" ({each.approver} approves)"
        print(plain(line(f"{about}  {content}")))
    return 0


@command(
    "answer",
    "answer a question that waits for a person",
    argument("thread", metavar="THREAD", help="the question's thread in `questions`, or how that begins"),
    argument("message", metavar="MESSAGE", help="what the console takes: text, key=value, or XML"),
    WHERE,
)
def answer(arguments: argparse.Namespace) -> int:
    """Give the answer; the organism goes on with it, at once or with its next start."""
    from xml_pipeline.cli.prospects import machine_of
    from xml_pipeline.console.people import answer_classes, said
    from xml_pipeline.door.requests import Reply
    from xml_pipeline.journal.asked import waiting_named
    from xml_pipeline.organism import Organism
    from xml_pipeline.payload import codec_of

    question = waiting_named(opened(arguments), arguments.thread)
    found = config(arguments, "all")
    organism = Organism.from_config(found)
    table = organism.listeners
    classes = answer_classes(table.get(question.listener), table.get(question.caller))
    payload = said(question.listener, classes, arguments.message)
    document = codec_of(type(payload)).encode(payload).decode()
    request = Reply(question.conversation, question.thread, document)
    return changed(arguments, request, machine_of(found, organism))
