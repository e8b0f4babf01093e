"""The rules of the house: import direction, what imports torch, and that the lists of packages agree."""

import ast
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from segmix_core import results

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "segmix_core"

# From the ground up: a room imports only from rooms before it (book/architecture.md draws this).
ROOMS = (
    "errors",
    "files",
    "rng",
    "records",
    "metrics",
    "experiments",
    "data",
    "cooccurrence",
    "label_statistics",
    "subsets",
    "mixing",
    "pairing_statistics",
    "models",
    "losses",
    "attacks",
    "corruptions",
    "training",
    "evaluation",
    "results",
    "report",
    "audit",
    "verdicts",
    "request",
    "pretraining",
    "measure",
    "run",
    "robustness",
    "paper_figures",
    "bench",
    "cli",
    "__main__",
    "chapter",
    "publish",
)
LIGHT = (
    "errors",
    "files",
    "rng",
    "records",
    "metrics",
    "experiments",
    "data",
    "cooccurrence",
    "label_statistics",
    "subsets",
    "results",
    "report",
    "audit",
    "cli",
)
"""Rooms no module of which imports torch before a function needs it."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms a module imports from, at any depth; what is under TYPE_CHECKING is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    rooms = set()
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            parts = module.split(".")
            if parts[0] == "segmix_core" and len(parts) > 1 and parts[1] in ROOMS:
                rooms.add(parts[1])
    return rooms


def test_an_import_in_a_function_counts_and_one_for_types_does_not(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "if TYPE_CHECKING:\n    from segmix_core.run import Ran\nelse:\n    import segmix_core.rng\n"
        "def f():\n    from segmix_core import attacks\n    def g():\n        import segmix_core.cli\n"
    )
    assert imported_rooms(path) == {"rng", "attacks", "cli"}


MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_below_it(path: Path) -> None:
    own = room_of(path)
    above = {room for room in imported_rooms(path) if ROOMS.index(room) > ROOMS.index(own)}
    assert not above, f"{own} imports {above}"


def test_light_rooms_do_not_import_torch() -> None:
    light = [path for path in MODULES if room_of(path) in LIGHT]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in light]
    imports = "; ".join(f"import {name.removesuffix('.__init__')}" for name in names)
    check = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_statistics_and_reports_do_not_import_torch(root: Path) -> None:
    check = (
        "import sys; from segmix_core.cli import main\n"
        "for command in ({commands}): assert main(command.split()) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    stats = f"stats --dataset voc2012 --root {root} --split train"
    commands = f"{stats!r}, 'report table1', 'report table6', 'report robustness', 'experiments'"
    said = subprocess.run(
        [sys.executable, "-c", check.format(commands=commands)], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "24 images of voc2012, split train" in said.stdout
    assert "Table 1" in said.stdout


def test_help_is_quick_and_light() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "segmix_core", "--help"]
    took = []
    for _ in range(3):
        began = time.perf_counter()
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        took.append(time.perf_counter() - began)
    assert " torch" not in shown.stderr
    assert " numpy" not in shown.stderr
    assert "predict" in shown.stdout
    assert min(took) < 1.0  # 0.3 s on an idle machine; loaded ones may take longer


def test_conda_installs_what_the_extras_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = project["dependencies"] + extras["notebooks"] + extras["book"] + extras["test"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    pip = next(part["pip"] for part in conda["dependencies"] if isinstance(part, dict))
    assert sorted(pip) == sorted([*named, "--editable ."])
    assert f"python{project['requires-python']}" in conda["dependencies"]


@pytest.mark.parametrize(
    ("version", "fits"), [((3, 10, 14), False), ((3, 11), True), ((3, 13, 9), True), ((3, 14, 0), False)]
)
def test_make_takes_the_pythons_that_the_project_names(version: tuple[int, ...], fits: bool) -> None:
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (check,) = re.findall(r"\$\(PYTHON\) -c '(import sys; .*)'", makefile)
    check = check.replace("import sys;", f"import sys; sys.version_info = {version};")
    said = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert said.returncode == (0 if fits else 1)
    told = "" if fits else "segmix needs Python 3.11 to 3.13: make PYTHON=python3.11 ...\n"
    assert said.stderr == told


def test_the_lock_file_names_no_index_and_every_dependency() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert "--index" not in lock
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = {line.split("==")[0].lower() for line in lock.splitlines()}
    for named in project["dependencies"] + [
        item for extra in project["optional-dependencies"].values() for item in extra
    ]:
        assert named.split(">=")[0].split("==")[0].lower() in locked


def test_pages_say_whether_anything_was_measured_at_the_papers_scale() -> None:
    at_paper_scale = any(row["scale"] == "paper" for row in results.read_all())
    for page, said in {
        "README.md": "No network was trained at the paper's own scale",
        "book/index.md": "No network was trained at `paper` scale",
    }.items():
        assert (said in (ROOT / page).read_text(encoding="utf-8")) != at_paper_scale, page
