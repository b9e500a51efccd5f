"""The command line: `homing log | datasets | ope | gate | plan | experiment | world`. A mistake gets one sentence."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from homing import __version__
from homing.errors import HomingError, describe

#: Rooms that bring commands; each has a `cli` module with `add_commands(subparsers)`.
ROOMS = ("log", "datasets", "ope", "promotion", "planning", "experiments", "simulation")


def build_parser() -> argparse.ArgumentParser:
    """The parser with every room's commands; a command stores its function as `run(args) -> exit status`."""
    parser = argparse.ArgumentParser(prog="homing", description="Message optimisation: decide, log, learn, evaluate.")
    parser.add_argument("--version", action="version", version=f"homing {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for room in ROOMS:
        importlib.import_module(f"homing.{room}.cli").add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 when the answer is no, 2 for a mistake in the call or its input, 130 if it
    was interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    args = build_parser().parse_args(argv)
    try:
        status: int = args.run(args)
    except HomingError as error:
        print(f"homing: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has had enough; what is still buffered must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("homing: interrupted", file=sys.stderr)
        return 130  # as shells have it: 128 and the signal's number
    except MemoryError as error:
        step = "Ask for less at once: fewer users, or a smaller part of the log."
        print(f"homing: {describe('memory', str(error), 'must suffice', step)}", file=sys.stderr)
        return 2
    except OSError as error:
        step = "Check the path, its permissions and the space that is left."
        print(f"homing: {describe('file', error.filename, error.strerror or str(error), step)}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    raise SystemExit(main())
