"""The command `segmix`: which command was given, and how it ends."""

import argparse
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Sequence

from segmix_core import __version__
from segmix_core.cli import datasets, networks, tables
from segmix_core.cli.arguments import Answer, Parser
from segmix_core.errors import InputError, WorkError, short

_WRONG_PATH = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
               errno.ELOOP}  # fmt: skip
"""Errors of the system that tell of a path that was given, and not of the work."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 0 done, 1 the work failed, 2 bad input or usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know every letter
    options = parser().parse_args(argv)
    if options.debug:
        return _answer(options)
    try:
        return _answer(options)
    except InputError as error:
        return _fail(f"{error}", 2)
    except WorkError as error:
        return _fail(f"{error}", 1)
    except OSError as error:
        where = f"{error.filename or options.command}: {error.strerror or error}"
        if error.errno in _WRONG_PATH:
            return _fail(f"{where}; check the path", 2)
        return _fail(f"{where}; free space or check the path", 1)
    except KeyboardInterrupt:
        return _fail(f"{options.command}: interrupted; {_how_to_go_on(options)}", 130)
    except Exception as error:  # nobody is to read a traceback, but for who asks for it
        if _is_memory(error):
            size = "--crop" if getattr(options, "crop", None) else "--scale"
            return _fail(f"{options.command}: out of memory; choose a smaller {size} or another --device", 1)
        return _fail(
            f"{options.command}: {type(error).__name__}: {short(f'{error}')}; --debug shows where", 1
        )


def parser() -> Parser:
    """All commands with their options."""
    whole = Parser(
        prog="segmix", description="Co-occurrence driven mixup and source separation (SegMix, IJCV 2023)."
    )
    whole.add_argument("--version", action="version", version=f"segmix {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for module in (datasets, networks, tables):
        module.add_to(commands)
    return whole


def _answer(options: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace], Answer] = options.run
    document, text = run(options)
    try:
        print(json.dumps(document) if options.json else text, flush=True)
    except BrokenPipeError:  # whoever read the answer has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(getattr(options, "status", 0))


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out, that of a GPU or that of torch on a CPU (a plain RuntimeError) too."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _how_to_go_on(options: argparse.Namespace) -> str:
    if options.command == "train" and (options.out / "checkpoint.pt").exists():
        return "the checkpoint is whole, add --resume to go on"
    goes_on = options.command in ("run", "attack")
    return "give the same command to go on" if goes_on else "give the same command again"


def _fail(message: str, status: int) -> int:
    line = "".join(letter if letter.isprintable() else " " for letter in message)
    print(f"segmix: error: {' '.join(line.split())}", file=sys.stderr)
    return status
