"""Open every universal perturbation of a folder: the work of `segmix data check --dataset uap`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmix_core.attacks import FORMS, read_perturbation
from segmix_core.attacks.perturbation import Scale
from segmix_core.data.dataset import Checked, check_files
from segmix_core.errors import InputError
from segmix_core.experiments.robustness import UNIVERSALS
from segmix_core.robustness.at_hand import published


def check_perturbations(
    root: Path, *, scale: Scale | None = None, progress: Callable[[int, int], None] | None = None
) -> Checked:
    """Read every universal perturbation of a folder; those of Table 6 have to be of their published size.

    Args:
        scale: of all but those of Table 6; see `read_perturbation`.

    Raises:
        InputError: no such folder, or no perturbation in it. Everything else is a `Problem`.
    """
    of_table6 = {one.file or one.or_file: one for one in UNIVERSALS}

    def read(path: Path) -> object:
        known = of_table6.get(path.name)
        return read_perturbation(path, scale=scale) if known is None else published(root, known)

    paths = sorted(path for path in root.iterdir() if path.suffix.lower() in FORMS) if root.is_dir() else []
    if not paths:
        raise InputError(root, f"holds no file of the form {', '.join(FORMS)}", "give the folder of them")
    return check_files(paths, read, progress=progress)
