"""Files and folders that are either wholly there or not there at all; JSON of others, read with care."""

import ast
import fcntl
import hashlib
import itertools
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from segmix_core.errors import InputError, WorkError

_ABANDONED = 60.0
"""Seconds after which a part that nobody holds was left by a killed process."""

_TRIES = 1000
"""How often a folder is made again that is taken away meanwhile."""


def check_writable(path: Path) -> None:
    """Find out before the work whether a file can be written to `path`; nothing is written.

    Raises:
        InputError: it cannot.
    """
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if there.is_dir() == (there == path) or not os.access(there, os.W_OK):
        raise InputError(path, "cannot be written", "choose another place")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it onto `path` if the block succeeds.

    A reader, and a process killed half-way, sees the old file or the new one, never a part of either. A part
    that a killed process leaves is hidden (`.<name>.*.part`) and goes with the next `sweep` of the folder.

    Raises:
        InputError: the folder cannot be made or written to, or `path` is a folder itself.
        WorkError: writing failed later on, say because the disk is full; `path` is as it was.
    """
    if path.is_dir():
        raise InputError(path, "is a folder", "name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise InputError(
            path.parent, f"cannot write here ({error.strerror})", "name another folder"
        ) from error
    temporary = Path(name)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # tells `sweep` that somebody writes
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WorkError(
            f"{path}: could not be written ({reason}); the file of before is unchanged"
        ) from error
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` if the block succeeds.

    Raises:
        InputError: `out` is there already, or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(out, "is there already", "choose another --out, or remove it")
    above = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise InputError(
            out.parent, f"cannot write here ({error.strerror})", "name another folder"
        ) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not out.exists():
            with suppress(OSError):  # somebody else has begun in one
                for folder in above:
                    folder.rmdir()


def sweep(folder: Path) -> None:
    """Remove the parts of files in `folder` that killed processes left: old ones that nobody holds."""
    for part in folder.glob(".*.part"):
        try:
            with part.open("rb") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - part.stat().st_mtime > _ABANDONED:
                    part.unlink()
        except OSError:  # held by its writer, gone meanwhile, or not ours to remove
            continue


@contextmanager
def alone(folder: Path, *, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold `folder` for one process at a time; others wait until the block ends or its process dies.

    A folder that was made for a block that failed goes with it, if it holds nothing.

    Args:
        waiting: called where another process holds it.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    lock = folder / ".lock"
    for tried in itertools.count():
        made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = lock.open("w")
        except OSError as error:
            # It may have been taken away in between, by a process whose block failed.
            if isinstance(error, FileNotFoundError) and tried < _TRIES:
                continue
            raise InputError(
                folder, f"cannot write here ({error.strerror})", "name another folder"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle.fileno()), lock.stat()):
                break
        handle.close()  # whoever held it failed, and took the folder away
    with handle:
        try:
            yield
        except BaseException:
            if made:
                with suppress(OSError):  # somebody else begins in it just now
                    if [path.name for path in folder.iterdir()] == [lock.name]:
                        lock.unlink()
                        folder.rmdir()
            raise


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def parse_json(text: str | bytes) -> Any:
    """What a JSON text of someone else's says.

    Raises:
        ValueError: it is no JSON, or is nested without end, or holds a number that is not finite.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number} is no finite number")
    return value


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def code_digest(path: Path) -> str:
    """SHA-256 of what a Python source does: without docstrings, lines of comment and empty lines."""
    text = path.read_text(encoding="utf-8")
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):
            words |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    kept = [
        line.rstrip()
        for number, line in enumerate(text.splitlines(), 1)
        if number not in words and line.strip() and not line.lstrip().startswith("#")
    ]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()
