"""What a row says that a network was shown, and the sources that decided it: rows name their code."""

import functools
import hashlib
from pathlib import Path
from typing import Any

from segmix_core.files import file_digest

SOURCES: dict[str, tuple[str, ...]] = {
    "universal": (
        "attacks/fooling",
        "attacks/gd_uap",
        "attacks/perturbation",
        "attacks/state",
        "attacks/uap",
        "robustness/universal",
    ),
    "adaptive": ("attacks/adaptive", "attacks/pgd", "attacks/sanity", "robustness/adaptive"),
    "corruption": ("corruptions",),
}
"""By kind of a row's condition; what only asks for attacks is in none."""


@functools.cache
def attack_digest(kind: str) -> str:
    """SHA-256 of the sources of a kind: what one kind finds does not change with those of another."""
    package = Path(__file__).resolve().parents[1]
    digests = [file_digest(package / f"{name}.py") for name in SOURCES[kind]]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def condition_of(kind: str, name: str, **given: Any) -> dict[str, Any]:
    """The condition of a row: `given` of the fields of its kind, the others empty, and its code."""
    empty = dict.fromkeys(("control", "epsilon", "severity", "aim", "access"))
    making = {"code": attack_digest(kind)[:12]} | given.pop("making", {})
    return {"kind": kind, "name": name, **empty, "how": "", "valid": True} | given | {"making": making}
