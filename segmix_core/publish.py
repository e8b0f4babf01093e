"""Build the book: train what the chapters share, execute them, let Jupyter Book set the pages.

`python -m segmix_core.publish build --scale demo` writes `_build/html`; `stored` sets the notebooks as they
are committed, without executing; `pair` executes chapters at their defaults and stores them beside their
scripts. What the networks of a page put out is nothing at these defaults: there a stored chapter holds the
outputs of a run at `demo`, which `longer` makes.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import yaml
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from PIL import Image, ImageChops

from segmix_core import results
from segmix_core.chapter import shared_requests
from segmix_core.errors import InputError, WorkError
from segmix_core.experiments import find_scale, nearest
from segmix_core.files import file_digest, replacing, write_text
from segmix_core.report import substitutions
from segmix_core.request import Request
from segmix_core.run import Report, cached_run

ROOT = results.REPOSITORY
CHAPTERS = ROOT / "notebooks"
BUILD = ROOT / "_build"
PARAMETERS = ("scale", "dataset", "root", "seed", "device")
PROCESSES = 2
README_PICTURES = {
    ROOT / "book" / "_static" / "pairs.png": ("02_blending", "fig-picked"),
    ROOT / "book" / "_static" / "scores_generated.png": ("07_photographs", "fig-drawn-scores"),
    ROOT / "book" / "_static" / "scores_photographs.png": ("07_photographs", "fig-photo-scores"),
}
"""Where `pair` keeps each figure that the README shows: its chapter and its name there."""

OF_NETWORKS = "nbval-ignore-output"
"""The tag of cells whose outputs are of networks that the page trains, and with them of the machine."""

LONGER = "demo"
"""The scale at which a stored chapter shows them."""

_SOLUTION = re.compile(r"# Solution of (\d+)")

_PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "seaborn", "papermill", "jupyter-book", "sphinx")

WHAT_A_SCALE_SAYS = {
    "smoke": "seconds of training from random weights. What this page trains, if anything, shows that the "
    "code runs, and says nothing of the method",
    "demo": "minutes of two cores, a small network, generated pictures. What this page trains, if anything, "
    "shows that each part works; it is no evidence for or against the paper",
    "mini": "a small network and a few thousand steps. It is not the paper's setting",
    "paper": "the setting of sections 4.1 and 4.2 as far as they print it; the rest is ours (R8, R17)",
}


def chapters() -> list[Path]:
    """The chapters' scripts, in reading order."""
    return sorted(CHAPTERS.glob("[0-9][0-9]_*.py"))


def execute(source: Path, parameters: dict[str, Any]) -> NotebookNode:
    """Run a chapter from its script.

    Args:
        parameters: replaces the defaults of the chapter's parameters cell.

    Returns:
        The notebook with its outputs, free of timings and of cell ids that change from run to run.

    Raises:
        InputError: a parameter that the chapter does not have.
        WorkError: a cell failed, or a figure has no picture.
    """
    notebook = jupytext.read(source)
    for name in parameters:
        if name not in parameters_of(notebook):
            raise InputError(source.name, f"has no parameter '{name}'", f"known: {', '.join(PARAMETERS)}")
    # A backend named by the surroundings (agg, say) would leave every figure out without a word.
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    with tempfile.TemporaryDirectory() as folder:
        try:
            executed = papermill.execute_notebook(
                notebook,
                str(Path(folder) / f"{source.stem}.ipynb"),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=False,
                cwd=ROOT,
                extra_arguments=["--IPKernelApp.log_level=50"],
                coalesce_streams=True,  # a line that is printed in pieces is one output on a busy machine too
            )
        except PapermillExecutionError as error:
            raise WorkError(
                f"{source.name}: {error.ename}: {(str(error.evalue).splitlines() or ['no message'])[0]}"
            ) from error
    missing = figures_without_picture(executed)
    if missing:
        raise WorkError(f"{source.name}: no picture for {', '.join(missing)}")
    return _stripped(executed)


def figures_without_picture(notebook: NotebookNode) -> list[str]:
    """The names of figures that a notebook announces, but whose cells put out no image."""
    return [
        str(cell.metadata["mystnb"]["figure"].get("name", "a figure"))
        for cell in notebook.cells
        if "figure" in cell.metadata.get("mystnb", {})
        and not any("image/png" in output.get("data", {}) for output in cell.outputs)
    ]


def parameters_of(notebook: NotebookNode) -> dict[str, Any]:
    """The names and defaults in a notebook's parameters cell."""
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(cell.source).body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


def _stripped(notebook: NotebookNode) -> NotebookNode:
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict(
            {name: cell.metadata[name] for name in ("tags", "mystnb") if cell.metadata.get(name)}
        )
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        colours = 256 if name in {figure for _, figure in README_PICTURES.values()} else 96
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _smaller(output.data["image/png"], colours)
    return notebook


def _smaller(png: str, colours: int) -> str:
    """A figure in so many colours of its own, base64 in and out: far fewer bytes, almost the same to the eye.

    Colours of few pixels, as of marks, are given to the nearest of many by one way of choosing them, and
    spoil smooth pictures by another: of the two the one is taken that is nowhere as far off.
    """
    with Image.open(io.BytesIO(base64.b64decode(png))) as opened:
        figure = opened.convert("RGB")
        ways = [
            figure.quantize(colours, method=method, kmeans=1, dither=Image.Dither.NONE)
            for method in (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
        ]
        packed = io.BytesIO()
        min(ways, key=lambda way: _farthest_off(way, figure)).save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def _farthest_off(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of any channel of any pixel, 0..255."""
    return max(ImageChops.difference(one.convert("RGB"), other).tobytes())


def pair(names: Sequence[str] = ()) -> None:
    """Execute chapters (all, or those named) at their defaults and store them as .ipynb.

    Cells of networks keep the outputs of the longer run, unless the cell has changed.
    """
    chosen = _chosen(names)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for source, notebook in zip(chosen, pool.map(_execute_at_defaults, chosen), strict=True):
            stored = source.with_suffix(".ipynb")
            if stored.is_file():
                _take_longer(notebook, nbformat.read(stored, as_version=4))
            _store(source, notebook)


def longer(names: Sequence[str] = ()) -> None:
    """Put into stored chapters what their networks put out at `demo`, executed now unless a book there was.

    Raises:
        WorkError: a chapter is not stored, or otherwise than its script; or a cell failed.
    """
    chosen = _chosen(names)
    check_pairs(names)
    folder = BUILD / "staging" / LONGER / "notebooks"
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        done = pool.map(_execute_into, [(source, LONGER, folder) for source in chosen])
        for source, (stem, _, _) in zip(chosen, done, strict=True):
            run = nbformat.read(folder / f"{stem}.ipynb", as_version=4)
            note = f"of a run at {LONGER} scale (commit {run.metadata.segmix.commit})"
            data = {"text/html": f'<p class="longer-run">{note}</p>', "text/plain": note}
            for cell in filter(_of_networks, run.cells):
                cell.metadata["segmix"] = {"scale": LONGER}
                if cell.outputs:
                    cell.outputs.append(nbformat.v4.new_output("display_data", data=data))
            notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
            _take_longer(notebook, run)
            _store(source, notebook)


def _of_networks(cell: NotebookNode) -> bool:
    """Whether a cell shows something of networks that its page trains."""
    return OF_NETWORKS in cell.metadata.get("tags", [])


def _take_longer(notebook: NotebookNode, other: NotebookNode) -> None:
    """Take over the outputs of a longer run wherever another copy of the chapter has them."""
    known = {cell.source: cell for cell in other.cells if "segmix" in cell.metadata}
    for cell in filter(_of_networks, notebook.cells):
        if cell.source in known:
            cell.outputs = known[cell.source].outputs
            cell.metadata["segmix"] = known[cell.source].metadata.segmix


def _store(source: Path, notebook: NotebookNode) -> None:
    """Write a chapter beside its script, and the figures of it that the README shows."""
    write_text(source.with_suffix(".ipynb"), nbformat.writes(notebook) + "\n")
    print(f"stored {source.stem}.ipynb", flush=True)
    for kept, (chapter, figure) in README_PICTURES.items():
        if source.stem == chapter:
            with replacing(kept) as temporary:
                temporary.write_bytes(picture_of(notebook, figure))


def picture_of(notebook: NotebookNode, figure: str) -> bytes:
    """The PNG file of a figure that a notebook holds, by the figure's name."""
    (cell,) = (
        cell
        for cell in notebook.cells
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == figure
    )
    return next(
        base64.b64decode(output.data["image/png"])
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    )


def check_pairs(names: Sequence[str] = ()) -> None:
    """Raise WorkError where a chapter's script and its notebook hold different cells."""
    apart = [source.stem for source in _chosen(names) if differs(source)]
    if apart:
        raise WorkError(f"{', '.join(apart)}: the notebook is not its script; run 'make notebooks'")


def _chosen(names: Sequence[str]) -> list[Path]:
    by_name = {source.stem: source for source in chapters()}
    for name in names:
        if name not in by_name:
            raise nearest("chapter", name, by_name)
    return [by_name[name] for name in names] or list(by_name.values())


def _execute_at_defaults(source: Path) -> NotebookNode:
    return execute(source, {})


def differs(source: Path) -> bool:
    """Whether a chapter's script and its notebook hold different cells."""
    stored = source.with_suffix(".ipynb")
    if not stored.is_file():
        return True
    script, notebook = jupytext.read(source), nbformat.read(stored, as_version=4)

    def cells(of: NotebookNode) -> list[tuple[str, str, Any, Any]]:
        return [
            (cell.cell_type, cell.source, cell.metadata.get("tags", []), cell.metadata.get("mystnb", {}))
            for cell in of.cells
        ]

    return cells(script) != cells(notebook)


def build(scale: str) -> Path:
    """Train the shared runs, execute every chapter whose content changed, and set the book.

    Returns:
        The first page.

    Raises:
        WorkError: a chapter or the setting of pages failed; the book of before stays.
    """
    find_scale(scale)
    began = time.monotonic()
    staging = BUILD / "staging" / scale
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        runs = []
        for run in pool.map(_train, shared_requests(scale)):
            runs.append(run)
            print(f"trained {run[0]} ({run[1]:.0f} s)", flush=True)
        tasks = [(source, scale, staging / "notebooks") for source in chapters()]
        executed = []
        for chapter in pool.map(_execute_into, tasks):
            executed.append(chapter)
            print(f"executed {chapter[0]} ({chapter[1]:.0f} s)", flush=True)
    provenance = _provenance(scale, executed, runs, time.monotonic() - began)
    return _set_pages(staging, provenance, BUILD / "html")


def stored(out: Path) -> Path:
    """Set the book from the committed notebooks, without executing anything. Returns the first page."""
    with tempfile.TemporaryDirectory(prefix="segmix-book-") as folder:
        staging = Path(folder)
        (staging / "notebooks").mkdir()
        taken: list[tuple[str, None, str]] = []
        for source in chapters():
            committed = source.with_suffix(".ipynb")
            if not committed.is_file():
                raise InputError(committed.name, "there is no such notebook", "run 'make notebooks'")
            taken.append((source.stem, None, file_digest(committed)[:12]))
            notebook = nbformat.read(committed, as_version=4)
            _write_staged(notebook, "smoke", staging / "notebooks" / committed.name)
        return _set_pages(staging, _provenance("smoke", taken, [], None), out)


def _train(request: Request) -> tuple[str, float]:
    import torch

    torch.set_num_threads(1)
    checkpoint, rows = cached_run(request, report=_lines(f"training {request.experiment.name}"))
    return checkpoint.parent.name, float(rows[0]["seconds"])


def _lines(what: str) -> Report:
    """A line every half minute: several processes share one terminal, which has no room for their bars."""
    said = time.monotonic()

    def report(step: int, steps: int, terms: dict[str, float]) -> None:
        nonlocal said
        if time.monotonic() - said >= 30:
            said = time.monotonic()
            print(f"{what}: {step}/{steps} steps", flush=True)

    return report


def _execute_into(task: tuple[Path, str, Path]) -> tuple[str, float, str]:
    """Execute a chapter into the staging tree unless it is there; returns name, seconds and digest."""
    source, scale, folder = task
    digest = chapter_digest(source, scale)
    target = folder / f"{source.stem}.ipynb"
    if target.is_file():
        known = nbformat.read(target, as_version=4).metadata.get("segmix", {})
        if known.get("digest") == digest:
            return source.stem, known["seconds"], digest
    print(f"executing {source.stem}", flush=True)
    began = time.monotonic()
    notebook = execute(source, {"scale": scale})
    seconds = time.monotonic() - began
    notebook.metadata["segmix"] = {
        "digest": digest,
        "seconds": round(seconds, 1),
        "commit": results.commit(),
    }
    _write_staged(notebook, scale, target)
    return source.stem, seconds, digest


def chapter_digest(source: Path, scale: str) -> str:
    """Twelve digits that change with the chapter, the package, the rows, the weights or the versions."""
    files = [source, *sorted((ROOT / "segmix_core").rglob("*.py"))]
    files += sorted(
        path
        for name in ("results", "weights")
        for path in (ROOT / "data" / name).rglob("*")
        if path.is_file()
    )
    parts = [scale, *(version(name) for name in _PACKAGES), *(file_digest(path) for path in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _write_staged(notebook: NotebookNode, scale: str, target: Path) -> None:
    """Write a chapter as the book shows it: its scale named under the title, its parameters out of sight."""
    says = f"`{scale}` is {WHAT_A_SCALE_SAYS[scale]}."
    if any("segmix" in cell.metadata for cell in notebook.cells):
        says += " What its networks put out is stored of a longer run, and says so."
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags or "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]
        elif cell.cell_type == "code" and not {"hide-cell", "remove-cell"} & set(tags):
            cell.metadata["tags"] = [*tags, "hide-input"]  # plumbing, one click away
        if solution := _SOLUTION.match(cell.source):
            shown, hidden = (f"{verb} the solution of {solution[1]}" for verb in ("Show", "Hide"))
            cell.metadata.setdefault("mystnb", {}).update(code_prompt_show=shown, code_prompt_hide=hidden)
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure and "segmix" in cell.metadata:  # all that the cell puts out would be the figure
            of_run = cell.outputs.pop().data["text/plain"]
            figure["caption"] += f" *{of_run[:1].upper()}{of_run[1:]}.*"
    banner = (
        f":::{{admonition}} Scale of this page: `{scale}`\n:class: scale\n"
        f"{says} Rows that the page reads name their own scale.\n:::"
    )
    note = nbformat.v4.new_markdown_cell(banner)
    note.id = "scale-of-this-page"
    notebook.cells.insert(1, note)
    write_text(target, nbformat.writes(notebook) + "\n")


def _provenance(
    scale: str,
    executed: Sequence[tuple[str, float | None, str]],
    runs: Sequence[tuple[str, float]],
    seconds: float | None,
) -> str:
    """The page that says how this copy of the book came about."""
    lines = ["# Provenance", ""]
    if seconds is None:
        lines += [
            f"This copy shows the chapters as they are committed, executed at `{scale}`. Outputs of networks "
            f"are of runs at `{LONGER}`, each with its commit. `make book` executes all at `{LONGER}`.",
            "",
        ]
    lines += [
        "Written by the build itself. A *digest* is the start of a SHA-256 sum: "
        + ("of a file." if seconds is None else "of all that a chapter is made of, or of a file.")
        + " It changes with any byte.",
        "",
    ]
    facts = {
        "scale of the chapters": f"`{scale}`",
        "commit": results.commit(),
        "Python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}; device cpu, one thread a process",
        "training and execution": "none: the committed outputs"
        if seconds is None
        else f"{seconds:.0f} s; what had not changed since an earlier build was kept",
    }
    facts |= {name: version(name) for name in _PACKAGES}
    lines += ["| what | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items()), ""]
    timed = seconds is not None
    lines += [
        "## Chapters",
        "",
        f"| chapter |{' seconds to execute |' * timed} digest |",
        "|---" * (2 + timed) + "|",
    ]
    for name, took, digest in executed:
        lines.append(f"| {name} |" + ("" if took is None else f" {took:.0f} |") + f" `{digest}` |")
    lines.append("")
    if runs:
        lines += [
            "## Training runs that the chapters share",
            "",
            "| run | seconds of training |",
            "|---|---|",
        ]
        lines += [f"| `{name}` | {took:.0f} |" for name, took in runs] + [""]
    lines += ["## Committed rows", "", "| file | rows | SHA-256 |", "|---|---|---|"]
    for path in sorted(results.RESULTS.glob("*.jsonl")):
        lines.append(f"| `{path.name}` | {len(results.read(path))} | `{file_digest(path)[:12]}` |")
    return "\n".join(lines) + "\n"


def _set_pages(staging: Path, provenance: str, out: Path) -> Path:
    """Copy the prose beside the staged chapters, run Jupyter Book strictly, and put its pages at `out`."""
    shutil.rmtree(staging / "book", ignore_errors=True)
    shutil.copytree(ROOT / "book", staging / "book", ignore=shutil.ignore_patterns("__pycache__"))
    write_text(staging / "book" / "provenance.md", provenance)
    shutil.copy(ROOT / "_toc.yml", staging / "_toc.yml")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["config"]["myst_substitutions"] = substitutions()
    write_text(staging / "_config.yml", yaml.safe_dump(config, sort_keys=False))
    jupyter_book = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["build", str(staging), "--all", "-W", "-n", "--keep-going"]
    command = [sys.executable, "-c", jupyter_book, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    pages = staging / "_build" / "html"
    if done.returncode or not (pages / "index.html").is_file():
        colour = r"\x1b\[[0-9;]*m"
        said = re.sub(f"{colour}|{re.escape(str(staging))}/", "", done.stdout + done.stderr).splitlines()
        wrong = [line for line in said if "WARNING" in line or "ERROR" in line] or said[-5:]
        raise WorkError("the pages could not be set: " + " | ".join(wrong[:8]))
    before = out.with_name(f".{out.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        out.rename(before)
    shutil.move(pages, out)
    shutil.rmtree(before, ignore_errors=True)
    return out / "index.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands. Exit status 0 done, 1 the work failed, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="segmix_core.publish", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="train, execute, set").add_argument("--scale", default="demo")
    commands.add_parser("stored", help="set the committed notebooks").add_argument(
        "--out", type=Path, default=BUILD / "stored" / "html"
    )
    pairing = commands.add_parser("pair", help="store chapters with their smoke outputs")
    pairing.add_argument("chapters", nargs="*", help="such as 04_stage1; all of them by default")
    pairing.add_argument("--check", action="store_true", help="execute nothing; fail where a pair differs")
    lengthening = commands.add_parser("longer", help="store what the networks of chapters put out at demo")
    lengthening.add_argument("chapters", nargs="*", help="such as 04_stage1; all of them by default")
    options = parser.parse_args(argv)
    try:
        if options.command == "longer":
            longer(options.chapters)
        elif options.command == "pair":
            (check_pairs if options.check else pair)(options.chapters)
        else:
            print(build(options.scale) if options.command == "build" else stored(options.out))
    except (InputError, WorkError) as error:
        print(f"segmix: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
