"""The command `xml-pipeline`, also `xp`; `parser.COMMANDS` lists what it can do.

Exit codes: 0 all is well; 1 mistakes were found, or an answer was an error; 2 the command line itself is wrong;
3 a budget ended what was asked for; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack

from xml_pipeline.cli.command import OUT_OF_BUDGET
from xml_pipeline.cli.guard import guarded_streams
from xml_pipeline.cli.parser import build_parser
from xml_pipeline.errors import BudgetExceededError, ConfigError, Ended, XmlPipelineError
from xml_pipeline.terminal import GuardedStream, Line, line, plain

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. `argv` without the program's name; default: the process's."""
    with guarded_streams() as out:
        return _run(argv, out)


def _run(argv: Sequence[str] | None, out: GuardedStream) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        with ExitStack() as arguments.at_end:  # a command closes there what it leaves open
            code: int = arguments.act(arguments)
        out.flush()
    except ConfigError as error:
        for row in error_lines(error):
            print(plain(row), file=sys.stderr)
        return 1
    except XmlPipelineError as error:
        text = str(error).replace("\n", "\n    ")  # what a server said cannot look like another error
        print(f"error: {text}", file=sys.stderr)
        return OUT_OF_BUDGET if isinstance(error, BudgetExceededError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except Ended as ended:
        return ended.code
    except BaseException as error:  # also what a handler's module may raise and no program should
        if error is not out.lost:
            traceback.print_exc()  # the interpreter would write it past the guard
        else:
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # the interpreter must not try again
            if not isinstance(error, BrokenPipeError):  # whoever read the output has gone, and knows it
                print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return code


def error_lines(error: ConfigError) -> list[Line]:
    """One line for each mistake, whatever stands in the names that it tells of."""
    rows = [line(str(problem)) for problem in error.problems]
    return [*rows, line(f"and {error.more:,} more")] if error.more else rows
