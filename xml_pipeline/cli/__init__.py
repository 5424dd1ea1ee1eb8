"""The command `xml-pipeline`, also `xp`; `parser.COMMANDS` lists what it can do.

Exit codes: 0 all is well; 1 mistakes were found, or an answer was an error; 2 the command line itself is wrong;
130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from xml_pipeline.cli.parser import build_parser
from xml_pipeline.errors import ConfigError, XmlPipelineError

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. `argv` without the program's name; default: the process's."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.act(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    except XmlPipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has gone; the interpreter must not flush into nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
