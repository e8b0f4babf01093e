"""Photographs out of context: found, sorted, and held to be images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmix_core.data.check import check
from segmix_core.data.context import check_context, open_context
from segmix_core.errors import InputError

NAMES = ["b.jpg", "10.JPG", "a.png", "2.jpeg"]
SORTED = ("10", "2", "a", "b")


def write_images(folder: Path, names: list[str] = NAMES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shade = np.full((8, 12, 3), 10 * len(name) + ord(name[0]), dtype=np.uint8)
        Image.fromarray(shade).save(folder / name, format="PNG" if name.endswith("png") else "JPEG")
    return folder


@pytest.mark.parametrize("below", ["", "images", "unrel-dataset/images", "supportContext/any/where"])
def test_images_are_found_and_sorted_by_name(tmp_path: Path, below: str) -> None:
    write_images(tmp_path / below)
    (tmp_path / below / "annotations.mat").write_bytes(b"not read")
    (tmp_path / below / "._b.jpg").write_bytes(b"finder")
    (tmp_path / "unrel-readme.txt").write_text("no image")
    opened = open_context("unrel", tmp_path)
    assert (opened.name, len(opened), opened.ids) == ("unrel", 4, SORTED)
    assert [path.stem for path in opened.image_paths] == list(opened.ids)
    for index, path in enumerate(opened.image_paths):
        image = opened.image(index)
        assert image.shape == (8, 12, 3)
        assert abs(image.astype(int) - (10 * len(path.name) + ord(path.name[0]))).max() <= 2
    assert check_context(tmp_path).problems == ()
    assert check_context(tmp_path).files == 4


def test_several_folders_of_images_are_not_guessed_among(tmp_path: Path) -> None:
    write_images(tmp_path / "code" / "icons")
    write_images(tmp_path / "code" / "photos")
    with pytest.raises(InputError, match="in 2 folders, such as code/icons, code/photos; give one of them"):
        open_context("outofcontext", tmp_path)
    assert len(open_context("outofcontext", tmp_path / "code" / "photos")) == 4


def test_bad_folders_and_names_are_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_context("unrel", tmp_path / "none")
    with pytest.raises(InputError, match="holds no image"):
        open_context("unrel", tmp_path)
    with pytest.raises(InputError, match="did you mean 'unrel'"):
        open_context("unreal", tmp_path)  # type: ignore[arg-type]
    write_images(tmp_path, ["x.jpg", "x.png"])
    with pytest.raises(InputError, match=r"x\.png: has the name of x\.jpg but for the suffix"):
        open_context("unrel", tmp_path)


def test_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "c.jpg").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"c\.jpg: the image is cut short or damaged") as caught:
        open_context("outofcontext", tmp_path)
    assert "\n" not in str(caught.value)


def test_check_decodes_to_the_end(tmp_path: Path) -> None:
    write_images(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("c.jpg", "d.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:2000])
    assert len(open_context("outofcontext", tmp_path)) == 6  # the heads are whole
    (tmp_path / "e.jpg").write_text("<html>404</html>")
    found = [Path(problem.path).name for problem in check_context(tmp_path).problems]
    assert found == ["c.jpg", "d.jpg", "e.jpg"]


def test_check_by_name(tmp_path: Path) -> None:
    write_images(tmp_path)
    assert check("unrel", tmp_path).files == check("outofcontext", tmp_path).files == 4
    with pytest.raises(InputError, match="did you mean 'unrel'"):
        check("unreal", tmp_path)
    with pytest.raises(InputError, match="leave the option out"):
        check("unrel", tmp_path, mask_threshold=3)
