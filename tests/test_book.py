"""The chapters' pairs, and every page of the stored book in a real browser."""

import ast
import base64
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jupytext
import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

from segmix_core import publish
from segmix_core.errors import InputError, WorkError
from segmix_core.experiments import SCALES
from segmix_core.files import file_digest
from segmix_core.rng import stream

CHAPTERS = publish.chapters()
PAGES = [
    page
    for part in yaml.safe_load((publish.ROOT / "_toc.yml").read_text())["parts"]
    for page in part["chapters"]
]
PAGES = ["book/index", *(page["file"] for page in PAGES)]
VISITED = [*PAGES, "genindex", "search"]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def outputs(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_script_and_notebook_hold_the_same_cells(source: Path) -> None:
    assert not publish.differs(source), "run 'make notebooks'"


def test_a_changed_script_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / CHAPTERS[0].name
    shutil.copy(CHAPTERS[0].with_suffix(".ipynb"), tmp_path)
    source.write_text(CHAPTERS[0].read_text().replace('scale = "smoke"', 'scale = "demo"'))
    assert publish.differs(source)


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_has_the_five_parameters(source: Path) -> None:
    expected = {"scale": "smoke", "dataset": "silhouettes", "root": None, "seed": 0, "device": "cpu"}
    assert publish.parameters_of(jupytext.read(source)) == expected
    assert tuple(expected) == publish.PARAMETERS


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_stored_outputs_are_clean(source: Path) -> None:
    path = source.with_suffix(".ipynb")
    assert path.stat().st_size < 300_000
    notebook = nbformat.read(path, as_version=4)
    text = json.dumps([output for output in outputs(notebook) if output.output_type != "display_data"])
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    assert not re.search(r"/(home|root|work|tmp|usr|Users)/|0x[0-9a-f]{6}", text)
    ends = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "nbval-check-output" in ends.metadata.tags
    assert ends.outputs


def test_the_check_of_pairs_names_the_chapter_that_is_apart(tmp_path: Path, monkeypatch: Any) -> None:
    for source in CHAPTERS[:2]:
        shutil.copy(source, tmp_path)
        jupytext.write(jupytext.read(source), tmp_path / f"{source.stem}.ipynb")
    monkeypatch.setattr(publish, "CHAPTERS", tmp_path)
    publish.check_pairs()
    script = tmp_path / CHAPTERS[1].name
    script.write_text(script.read_text() + "\n# %%\nseed + 1\n")
    with pytest.raises(WorkError, match=f"^{script.stem}: the notebook is not its script"):
        publish.check_pairs()


def test_what_a_chapter_is_made_of_decides_whether_it_is_executed_again(tmp_path: Path) -> None:
    changed = tmp_path / CHAPTERS[0].name
    changed.write_text(CHAPTERS[0].read_text() + "# one more line\n")
    digest = publish.chapter_digest(CHAPTERS[0], "smoke")
    assert digest == publish.chapter_digest(CHAPTERS[0], "smoke")
    assert digest != publish.chapter_digest(CHAPTERS[0], "demo")
    assert digest != publish.chapter_digest(changed, "smoke")


def test_training_for_the_book_says_every_half_minute_how_far_it_is(monkeypatch: Any, capsys: Any) -> None:
    seconds = iter((0, 5, 31, 31, 40, 62, 62))  # the clock is read again where a line is written
    monkeypatch.setattr(publish.time, "monotonic", lambda: next(seconds))
    report = publish._lines("training baseline")
    for step in (10, 20, 30, 40):
        report(step, 325, {"total": 1.0})
    assert capsys.readouterr().out.splitlines() == [
        "training baseline: 20/325 steps",
        "training baseline: 40/325 steps",
    ]


def test_the_banner_knows_every_scale() -> None:
    assert publish.WHAT_A_SCALE_SAYS.keys() == SCALES.keys()


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_every_figure_has_a_caption_a_name_and_words_for_those_who_cannot_see_it(source: Path) -> None:
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert not publish.figures_without_picture(notebook)
    for cell in notebook.cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            described = cell.metadata.get("mystnb", {})
            assert described["figure"]["caption"]
            assert described["figure"]["name"].startswith("fig-")
            assert len(described["image"]["alt"]) > 20


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_define_no_class(source: Path) -> None:
    assert not re.search(r"^\s*class \w", source.read_text(), re.MULTILINE)


TRAINS = re.compile(r"\.step\(|\.zero_grad\(|\bDataLoader\b|\boptim\b|\b(SGD|Adam|AdamW)\b")
"""What a training loop cannot do without; a gradient alone may be shown."""


def code_of(path: Path) -> str:
    """A module without its comments, which are the prose of a chapter."""
    return ast.unparse(ast.parse(path.read_text()))


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_hold_no_training_loop(source: Path) -> None:
    assert not TRAINS.findall(code_of(source))


def test_a_training_loop_is_known_when_seen() -> None:
    loop = code_of(publish.ROOT / "segmix_core" / "training" / "stages.py")
    assert {match[0] for match in TRAINS.finditer(loop)} >= {".step(", ".zero_grad(", "optim"}


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(InputError, match="no parameter 'sacle'"):
        publish.execute(CHAPTERS[0], {"sacle": "demo"})


def test_a_failing_cell_is_named(tmp_path: Path) -> None:
    source = tmp_path / "09_fails.py"
    source.write_text('# %% tags=["parameters"]\nscale = "smoke"\n\n# %%\nraise ValueError("no such luck")\n')
    with pytest.raises(WorkError, match=r"09_fails\.py: ValueError: no such luck"):
        publish.execute(source, {})


def test_a_stored_number_that_is_not_what_the_cell_gives_fails(tmp_path: Path) -> None:
    for name, stored in {"kept": "6 times 7 is 42", "altered": "6 times 7 is 43"}.items():
        ignored, checked = (
            nbformat.v4.new_code_cell(
                'print("6 times 7 is", 6 * 7)',
                execution_count=1,
                metadata={"tags": [tag]},
                outputs=[nbformat.v4.new_output("stream", name="stdout", text=f"{text}\n")],
            )
            for tag, text in (("nbval-ignore-output", "another machine's"), ("nbval-check-output", stored))
        )
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        notebook = nbformat.v4.new_notebook(cells=[ignored, checked], metadata=kernel)
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-c", publish.ROOT / "pyproject.toml", "-rA", "--color=no"]
    command += ["-p", "no:cacheprovider", "--nbval", tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=publish.ROOT)
    outcomes = re.findall(r"^(PASSED|FAILED) \S*?(\w+)\.ipynb::Cell (\d)", said.stdout, re.MULTILINE)
    assert said.returncode == 1
    assert sorted(outcomes) == [
        ("FAILED", "altered", "1"),
        ("PASSED", "altered", "0"),
        ("PASSED", "kept", "0"),
        ("PASSED", "kept", "1"),
    ], said.stdout


PLOT = """# %% tags=["parameters"]
scale = "smoke"

# %% mystnb={"figure": {"caption": "A line.", "name": "fig-line"}, "image": {"alt": "A rising line."}}
import matplotlib.pyplot as plt

plt.plot([0, 1])
"""


def test_a_figure_is_stored_whatever_backend_is_around(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    source = tmp_path / "09_plots.py"
    source.write_text(PLOT + "plt.show()\n")
    assert any("image/png" in output.get("data", {}) for output in outputs(publish.execute(source, {})))


def test_a_figure_without_its_picture_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "09_plots.py"
    source.write_text(PLOT + "plt.close()\n")
    with pytest.raises(WorkError, match=r"09_plots\.py: no picture for fig-line"):
        publish.execute(source, {})


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book of the stored outputs, built strictly."""
    return publish.stored(tmp_path_factory.mktemp("book") / "html").parent


def test_the_book_builds_strictly_and_names_the_scale(book: Path) -> None:
    for page in PAGES:
        assert (book / f"{page}.html").is_file()
    for source in CHAPTERS:
        assert "Scale of this page" in (book / "notebooks" / f"{source.stem}.html").read_text()


def test_equations_bear_the_papers_numbers(book: Path) -> None:
    shown = "".join(path.read_text() for path in sorted((book / "notebooks").glob("0[1-5]_*.html")))
    found = re.findall(r'class="eqno">\((\d+)\)<a [^>]*href="#equation-(eq-\w+)"', shown)
    names = ("eq-blend", "eq-branches", "eq-joined", "eq-stage1", "eq-stage2")
    assert found == [(str(number), name) for number, name in enumerate(names, 1)]


def test_no_formula_is_shown_as_its_source(book: Path) -> None:
    """A table that a cell puts out knows no mathematics."""
    for page in PAGES:
        text = (book / f"{page}.html").read_text()
        prose = re.sub(r"<(pre|code|script)\b.*?</\1>|<[^>]*>", "", text, flags=re.DOTALL)
        found = re.findall(r"\$[^$\n]*[_^\\][^$\n]*\$", prose)
        assert not found, page


def test_a_hidden_solution_says_of_which_exercise_it_is(book: Path) -> None:
    for source in CHAPTERS:
        page = (book / "notebooks" / f"{source.stem}.html").read_text()
        hidden = sum(
            "hide-cell" in cell.metadata.get("tags", []) and "mystnb" not in cell.metadata  # says itself
            for cell in jupytext.read(source).cells
        )
        shown = re.findall(r">Show the solution of (\d)</p>", page)
        assert hidden, source.stem
        assert shown == [str(number + 1) for number in range(hidden)], source.stem


@pytest.mark.parametrize("kept", publish.README_PICTURES, ids=lambda kept: kept.stem)
def test_the_readme_shows_the_figure_of_the_chapter(kept: Path) -> None:
    name, figure = publish.README_PICTURES[kept]
    notebook = nbformat.read(publish.CHAPTERS / f"{name}.ipynb", as_version=4)
    assert kept.read_bytes() == publish.picture_of(notebook, figure), "run 'make notebooks'"
    assert str(kept.relative_to(publish.ROOT)) in (publish.ROOT / "README.md").read_text()


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_what_networks_put_out_is_stored_of_a_longer_run(source: Path) -> None:
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    for cell in notebook.cells:
        if publish.OF_NETWORKS in cell.metadata.get("tags", []):
            mend = f"run 'python -m segmix_core.publish longer {source.stem}'"
            assert cell.metadata.get("segmix") == {"scale": "demo"}, mend
            for output in cell.outputs[-1:]:
                said = output.data["text/plain"]
                assert re.fullmatch(r"of a run at demo scale \(commit [0-9a-f]{12}\)", said)
        else:
            assert "segmix" not in cell.metadata


def test_a_chapter_keeps_what_a_longer_run_put_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "04_networks.py"
    page = """# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% tags=["parameters"]
scale = "smoke"

# %% tags=["nbval-ignore-output"]
print("networks of", scale)

# %%
print("the page of", scale)
"""
    source.write_text(page)
    monkeypatch.setattr(publish, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(publish, "chapters", lambda: [source])

    def said() -> list[list[str]]:
        notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
        return [
            [one.get("text") or one.data["text/plain"] for one in cell.outputs] for cell in notebook.cells[1:]
        ]

    with pytest.raises(WorkError, match="run 'make notebooks'"):
        publish.longer()
    publish.pair()
    assert said() == [["networks of smoke\n"], ["the page of smoke\n"]]
    publish.longer()
    networks, rest = said()
    assert networks[0] == "networks of demo\n"
    assert networks[1].startswith("of a run at demo scale (commit ")
    assert len(networks) == 2
    assert rest == ["the page of smoke\n"]
    source.write_text(page.replace("the page", "this page"))
    publish.pair()
    assert said() == [networks, ["this page of smoke\n"]]
    source.write_text(page.replace("networks of", "what networks say of"))
    publish.pair()
    assert said() == [["what networks say of smoke\n"], ["the page of smoke\n"]]


def test_the_provenance_names_what_every_chapter_was_set_from(book: Path) -> None:
    html = (book / "book" / "provenance.html").read_text()
    for source in CHAPTERS:
        assert file_digest(source.with_suffix(".ipynb"))[:12] in html
    assert "none: the committed outputs" in html
    assert version("torch") in html


def test_no_page_names_another_host_for_what_it_loads(book: Path) -> None:
    for page in PAGES:
        html = (book / f"{page}.html").read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"([^\"]+)\"", html)
        loaded += re.findall(r"<link[^>]+rel=\"(?:stylesheet|preload)\"[^>]+href=\"([^\"]+)\"", html)
        assert loaded
        assert not [address for address in loaded if "://" in address]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", VISITED)
def test_a_page_in_the_browser(browser: Any, book: Path, page: str, size: str, colours: str) -> None:
    width, height = SIZES[size]
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"},
    )
    scheme = {"features": [{"name": "prefers-color-scheme", "value": colours}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    for kind in ("performance", "browser"):
        browser.get_log(kind)
    browser.get((book / f"{page}.html").as_uri())

    def count(selector: str) -> int:
        return int(browser.execute_script(f"return document.querySelectorAll('{selector}').length"))

    deadline = time.monotonic() + 20
    while count(".math > mjx-container") < count(".math") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert count(".math > mjx-container") == count(".math")
    assert not count("mjx-merror")
    assert browser.execute_script("return document.documentElement.dataset.theme") == colours
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width + 1
    unseen = "[...document.querySelectorAll('article img')].filter(i => !i.alt || !i.naturalWidth)"
    assert not browser.execute_script(f"return {unseen}.map(image => image.src)")
    bare = "[...document.querySelectorAll('.cell_output img')].filter(i => i.clientWidth < 200)"
    assert not browser.execute_script(f"return {bare}.map(image => image.src)")
    asked = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    assert asked
    assert not [address for address in asked if not address.startswith(("file:", "data:", "blob:"))]
    files = {Path(unquote(urlsplit(address).path)) for address in asked if address.startswith("file:")}
    assert sum(path.stat().st_size for path in files) < 2_500_000
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_search_finds_a_word_without_a_server(browser: Any, book: Path) -> None:
    browser.get((book / "search.html").as_uri() + "?q=phantom")
    deadline = time.monotonic() + 20
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        time.sleep(0.1)
        links = "[...document.querySelectorAll('#search-results li a')].map(link => link.href)"
        found = browser.execute_script(f"return {links}")
    assert any("05_stage2" in address for address in found)


def test_a_reader_without_a_mouse_moves_on(browser: Any, book: Path) -> None:
    browser.get((book / "notebooks" / "01_cooccurrence.html").as_uri())
    link = browser.find_element("css selector", ".prev-next-footer a.right-next")
    link.send_keys("\ue007")  # Enter
    assert browser.current_url.endswith("02_blending.html")


def test_the_command_says_in_one_line_what_is_wrong() -> None:
    command = [sys.executable, "-m", "segmix_core.publish", "build", "--scale", "dmeo"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert said.stderr.strip().splitlines() == [said.stderr.strip()]
    assert "did you mean 'demo'" in said.stderr


def test_a_stored_figure_keeps_the_colours_of_its_marks() -> None:
    """Two marks of a few pixels, alike but for their hue, beside a picture of thousands of colours."""
    rng = stream(0, "test", "figure")
    figure = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    figure[:100] = 255
    marks = {"amber": ((222, 143, 5), 10), "vermilion": ((213, 94, 0), 40)}
    for colour, left in marks.values():
        figure[20:26, left : left + 6] = colour
    drawn = io.BytesIO()
    Image.fromarray(figure).save(drawn, "PNG")
    stored = publish._smaller(base64.b64encode(drawn.getvalue()).decode(), 96)
    with Image.open(io.BytesIO(base64.b64decode(stored))) as opened:
        kept = np.asarray(opened.convert("RGB")).astype(int)
    found = {name: kept[22, left + 2] for name, (_, left) in marks.items()}
    assert np.abs(found["amber"] - found["vermilion"]).max() > 20
    assert (kept[:15] > 250).all()
