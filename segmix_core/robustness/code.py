"""Which sources decide what the networks are shown, by kind: rows of attacks name the code that made them."""

import functools
import hashlib
from pathlib import Path

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
