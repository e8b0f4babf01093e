"""Files that are whole or not there, and what is left when the process that writes one is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from segmix_core.errors import InputError, WorkError
from segmix_core.files import alone, code_digest, new_folder, replacing, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from segmix_core.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint.pt"
    kept.write_text("whole")
    download = tmp_path / "VOCtrainval.tar.part"  # one to go on from
    download.write_text("half")
    ended = subprocess.run([sys.executable, "-c", KILLED, kept], check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".*.part")
    assert left.read_text() == "half"
    assert kept.read_text() == "whole"
    sweep(tmp_path)
    assert left.exists()  # too young: its writer may be about to hold it
    for path in (kept, download, left):
        age(path, 3600)
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {kept.name, download.name}


def test_a_part_that_is_being_written_is_not_swept(tmp_path: Path) -> None:
    with replacing(tmp_path / "rows.npz") as temporary:
        temporary.write_text("new")
        age(temporary, 3600)
        sweep(tmp_path)
    assert (tmp_path / "rows.npz").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npz"]


def hold_and_fail(folder: Path, work: Callable[[], object] = lambda: None) -> None:
    with alone(folder):
        work()
        raise ValueError("refused")


def test_a_folder_made_for_nothing_goes_again(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for folder in (mine, tmp_path / "new"):
        with pytest.raises(ValueError, match="refused"):
            hold_and_fail(folder)
    assert mine.is_dir()
    assert not (tmp_path / "new").exists()
    work = tmp_path / "half" / "work"
    with pytest.raises(ValueError, match="refused"):
        hold_and_fail(tmp_path / "half", lambda: work.write_text("to go on from"))
    assert work.exists()


def test_who_waits_for_a_folder_that_goes_makes_it_anew(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    waiting = threading.Event()
    kept: list[bool] = []

    def second() -> None:
        with alone(folder, waiting=waiting.set):
            (folder / "work").write_text("done")
            kept.append((folder / ".lock").exists())

    other = threading.Thread(target=second)

    def until_it_waits() -> None:
        other.start()
        assert waiting.wait(timeout=10)
        time.sleep(0.1)

    with pytest.raises(ValueError, match="refused"):
        hold_and_fail(folder, until_it_waits)
    other.join(timeout=10)
    assert kept == [True]
    assert (folder / "work").read_text() == "done"


def test_a_disk_that_fills_up_under_safetensors_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    path.write_text("before")
    with (
        pytest.raises(WorkError, match=r"v\.safetensors: .*No space left.*the file of before is unchanged"),
        replacing(path),
    ):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "before"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder here in which none can be made")
def test_a_folder_that_can_never_be_made_is_refused() -> None:
    with pytest.raises(InputError, match="cannot write here"), alone(Path("/proc/segmix/run")):
        pass


SOURCE = '''"""What it is about."""

import math

# a remark


def area(radius: float) -> float:
    """Of a circle."""
    return math.pi * radius**2
'''


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("Of a circle", "Of a disc\n\n    Raises:\n        Nothing."), True),
        (("# a remark\n", ""), True),
        (("import math\n", "import math\n\n\n"), True),
        (("radius**2", "radius**3"), False),
        (("radius: float", "radius: int"), False),
        (("math.pi * radius**2", '"a text"'), False),
    ],
)
def test_code_is_known_by_what_it_does(tmp_path: Path, change: tuple[str, str], same: bool) -> None:
    for name, text in (("before", SOURCE), ("after", SOURCE.replace(*change))):
        (tmp_path / f"{name}.py").write_text(text)
    assert (tmp_path / "before.py").read_text() != (tmp_path / "after.py").read_text()
    before, after = (code_digest(tmp_path / f"{name}.py") for name in ("before", "after"))
    assert (before == after) == same


def test_folders_that_were_made_for_a_failing_one_go_again(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="fails"), new_folder(tmp_path / "there" / "new" / "newer" / "out"):
        raise OSError("fails")
    assert list((tmp_path / "there").iterdir()) == []
    with new_folder(tmp_path / "there" / "new" / "out") as made:
        (made / "a").touch()
    assert (tmp_path / "there" / "new" / "out" / "a").exists()
