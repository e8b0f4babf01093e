"""What a row says that a network was shown, and the sources that decided it: rows name their code."""

import functools
import hashlib
from pathlib import Path
from typing import Any

from segmix_core.files import code_digest

SOURCES: dict[str, tuple[str, ...]] = {
    "universal": (
        "attacks/fooling",
        "attacks/gd_uap",
        "attacks/perturbation",
        "attacks/state",
        "attacks/uap",
        "robustness/universal",
    ),
    "adaptive": (
        "attacks/adaptive",
        "attacks/pgd",
        "attacks/sanity",
        "robustness/adaptive",
        "robustness/protocol",
    ),
    "corruption": ("corruptions",),
}
"""By kind of a row's condition; what only asks for attacks is in none."""


@functools.cache
def attack_digest(kind: str) -> str:
    """SHA-256 of the sources of a kind: what one kind finds does not change with those of another."""
    package = Path(__file__).resolve().parents[1]
    digests = [code_digest(package / f"{name}.py") for name in SOURCES[kind]]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


FOUND_THE_SAME = {
    "22af255a7982": "b60bbfae9a1e",  # universal
    "cb791a9e987a": "b60bbfae9a1e",  # universal
    "8e9fe3ddf330": "b60bbfae9a1e",  # universal
}
"""Code that committed rows name -> the sources of today that find the same, by `attack_digest`.

An entry holds until those sources change, and whoever changes them decides whether it goes on. Why each
stands here is in `book/decisions.md`.
"""


def is_of_this_code(said: str | None, kind: str, now: str) -> bool:
    """Whether a row's numbers would come out again; of rows of before it was noted nobody can say otherwise.

    Args:
        said: the code that the row names.
        now: what it would name today.
    """
    return said in (None, now) or FOUND_THE_SAME.get(said) == attack_digest(kind)[:12]


def condition_of(kind: str, name: str, **given: Any) -> dict[str, Any]:
    """The condition of a row: `given` of the fields of its kind, the others empty, and its code."""
    empty = dict.fromkeys(("control", "epsilon", "severity", "aim", "access"))
    making = {"code": attack_digest(kind)[:12]} | given.pop("making", {})
    return {"kind": kind, "name": name, **empty, "how": "", "valid": True} | given | {"making": making}
