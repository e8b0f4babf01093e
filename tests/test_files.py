"""Files that are whole or not there, and what is left when the process that writes one is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from segmix_core.files import replacing, sweep

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
