"""Ways of looking at an image that are meant to mislead: universal perturbations, and their controls."""

from segmix_core.attacks.perturbation import (
    CONTROLS,
    FITS,
    FORMS,
    Perturbation,
    apply_perturbation,
    control_of,
    fit,
    load_perturbation,
    read_perturbation,
    write_perturbation,
)

__all__ = [
    "CONTROLS",
    "FITS",
    "FORMS",
    "Perturbation",
    "apply_perturbation",
    "control_of",
    "fit",
    "load_perturbation",
    "read_perturbation",
    "write_perturbation",
]
