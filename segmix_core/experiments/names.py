"""What to answer to a name that does not exist."""

import difflib
from collections.abc import Iterable

from segmix_core.errors import InputError


def nearest(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for an unknown name: what was asked for, the nearest known name, and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return InputError(kind, f"unknown name '{name}'", f"{hint}known: {', '.join(names)}")
