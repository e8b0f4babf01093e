"""Fetching data sets: from servers that are good, cut, slow or wrong, and archives that mean harm."""

import gzip
import hashlib
import io
import json
import random
import re
import resource
import socket
import stat
import sys
import tarfile
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_cli import has_kind, segmix

from segmix_core.data import download
from segmix_core.data.catalog import CATALOG, Archive, Source
from segmix_core.data.download import Fetched
from segmix_core.errors import InputError, WorkError

Member = tuple[str, bytes]
STOPS_AFTER: dict[object, int] = {  # bytes of an answer
    "cut at once": 1,
    "stuck": 3000,
    "stuck further": 3 << 19,
    "megabyte and a half": 3 << 19,
}


class Handler(BaseHTTPRequestHandler):
    """Answers a request in the way that is next in `server.ways`; the last way stays."""

    server: "Server"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        ways = self.server.ways
        way = ways.popleft() if len(ways) > 1 else ways[0]
        self.server.log.append(
            {"path": self.path} | {key.lower(): value for key, value in self.headers.items()}
        )
        body = self.server.files.get(self.path.lstrip("/"))
        if isinstance(way, int) or body is None:
            self.send_error(way if isinstance(way, int) else 404)
            return
        if way == "page":
            self._head(200, {"Content-Type": "text/html; charset=utf-8"})
            self.wfile.write(b"<!DOCTYPE html><html>Please sign in</html>" * 20)
            return
        if way == "patience":
            for _ in range(500):
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.01)
            return
        if isinstance(way, str) and way.startswith("to "):
            self._head(302, {"Location": way.removeprefix("to ")})
            self._dribble(b"x" * 500)
            return
        if way == "half a length":  # of a chunk, a letter now and then
            self._head(200, {"Transfer-Encoding": "chunked"})
            self.wfile.write(b"2000\r\n" + body[:0x2000] + b"\r\n")
            self._dribble(b"0" * 500)
            return
        if way == "trailers":
            self._head(200, {"Transfer-Encoding": "chunked"})
            self.wfile.write(b"2000\r\n" + body[:0x2000] + b"\r\n0\r\n")
            self._dribble(b"a: b\r\n" * 500, 6)
            return
        if way == "silent":
            time.sleep(0.6)
            return
        etag = self.server.etag or hashlib.md5(body).hexdigest()
        tags = {} if way == "untagged" else {"ETag": f'"{etag}"'}
        if way == "weak":
            tags = {"ETag": f'W/"{etag}"', "Last-Modified": "Fri, 11 May 2012 10:00:00 GMT"}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        condition = self.headers["If-Range"]
        current = condition in (None, f'"{etag}"', tags.get("Last-Modified")) or way == "careless"
        begin = (
            int(wanted[1]) if wanted and current and way not in ("no range", "stuck", "stuck further") else 0
        )
        if way == "elsewhere":
            begin = max(0, begin - 10)
        if begin >= len(body):
            self.send_error(416)
            return
        status = 206 if begin else 200
        if begin:
            tags["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        length = {} if way == "no length" else {"Content-Length": str(len(body) - begin)}
        if way == "cut chunks":
            length = {"Transfer-Encoding": "chunked"}
        self._head(status, {"Content-Type": "application/octet-stream"} | tags | length)
        self._send(body[begin:], way)

    def _dribble(self, body: bytes, size: int = 1) -> None:
        """Bytes that come too often for a wait to be long, and too seldom to come to an end in time."""
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            time.sleep(0.02)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes, way: object) -> None:
        if way in ("cut", "weak", "untagged"):
            body = body[: len(body) // 2]
        if way in STOPS_AFTER:
            body = body[: STOPS_AFTER[way]]
        if way == "cut chunks":
            body = b"4000\r\n" + body[:0x4000] + b"\r\n4000\r\n" + body[0x4000:0x5000]
        size, wait = {"trickle": (8, 0.02), "steady": (4096, 0.02)}.get(str(way), (len(body), 0.0))
        for start in range(0, len(body), size or 1):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            if wait:
                time.sleep(wait)
            if way == "trickle" and start > 8 * 200:
                return


class Server(ThreadingHTTPServer):
    """Files by name, the ways to answer, and what was asked."""

    daemon_threads = False  # wait for them, so that no socket is left open

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ways: deque[str | int] = deque(["good"])
        self.log: list[dict[str, str]] = []
        self.etag: str | None = None
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client may hang up
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def answers(self, *ways: str | int) -> None:
        self.ways = deque(ways)
        self.log.clear()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("SEGMIX_MIRROR", raising=False)
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def fetch(name: str, root: Path, server: Server | None = None, **given: Any) -> Fetched:
    """`fetch` without waiting between tries."""
    mirror = {} if server is None else {"mirror": server.url}
    return download.fetch(name, root, **({"timeout": 5.0, "tries": 3, "pause": 0.0} | mirror | given))


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def zipped(*members: Member) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def tarred(*members: Member | tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def left(root: Path) -> set[str]:
    """What lies under the root, without what fetching always leaves."""
    return {path.name for path in root.glob("*")} - {".lock", ".fetched"}


@pytest.fixture
def unrel(server: Server) -> bytes:
    """The server gives unrel-dataset.tar.gz with one file of noise; returns that."""
    content = noise(200_000)
    server.files["unrel-dataset.tar.gz"] = tarred(("unrel/images/1.jpg", content), ("unrel/a.txt", b"a"))
    return content


# What is fetched


def test_every_archive_is_unpacked_and_the_second_time_there_is_nothing_to_do(
    server: Server, tmp_path: Path
) -> None:
    server.files = {
        "images.zip": zipped(("images/0001.jpg", noise(3000)), ("images/", b"")),
        "ground_truth_mask.zip": zipped(("ground_truth_mask/0001.png", noise(500, seed=1))),
    }
    steps: list[tuple[int, int]] = []
    first = fetch("ecssd", tmp_path / "new", server, progress=lambda *step: steps.append(step))
    assert (first.files, first.bytes, first.new) == (2, 3500, ("images.zip", "ground_truth_mask.zip"))
    assert (tmp_path / "new/images/0001.jpg").read_bytes() == noise(3000)
    assert (tmp_path / "new/ground_truth_mask/0001.png").read_bytes() == noise(500, seed=1)
    assert left(tmp_path / "new") == {"images", "ground_truth_mask", "CHECKSUMS.json"}
    assert steps == sorted(steps, key=lambda step: step[0])
    assert steps[-1] == (sum(map(len, server.files.values())),) * 2
    assert all(done < total for done, total in steps[:-1])

    server.log.clear()
    second = fetch("ecssd", tmp_path / "new", server)
    assert server.log == []
    assert second == replace(first, new=())

    (tmp_path / "new/images/0001.jpg").write_bytes(b"short")
    assert fetch("ecssd", tmp_path / "new", server).new == ("images.zip",)
    assert (tmp_path / "new/images/0001.jpg").read_bytes() == noise(3000)


def test_a_checksum_that_nobody_published_is_recorded_and_held_to(
    server: Server, tmp_path: Path, unrel: bytes
) -> None:
    archive = server.files["unrel-dataset.tar.gz"]
    fetched = fetch("unrel", tmp_path, server)
    document = json.loads((tmp_path / "CHECKSUMS.json").read_text())
    assert "recorded at first fetch" in document["checksums"]
    expected = {
        "name": "unrel/unrel-dataset.tar.gz",
        "url": f"{server.url}/unrel-dataset.tar.gz",
        "sha256": hashlib.sha256(archive).hexdigest(),
        "bytes": len(archive),
    }
    assert document["files"] == [expected]
    assert [vars(one) for one in fetched.recorded] == [expected]

    (tmp_path / "unrel/a.txt").unlink()
    server.files["unrel-dataset.tar.gz"] = tarred(("unrel/a.txt", b"other"))
    with pytest.raises(InputError, match=r"not the [0-9a-f]{64} recorded at first fetch"):
        fetch("unrel", tmp_path, server)
    assert left(tmp_path) == {"unrel", "CHECKSUMS.json"}
    assert not (tmp_path / "unrel/a.txt").exists()
    assert json.loads((tmp_path / "CHECKSUMS.json").read_text()) == document

    server.files["unrel-dataset.tar.gz"] = archive
    assert fetch("unrel", tmp_path, server).recorded == fetched.recorded
    assert (tmp_path / "unrel/a.txt").read_bytes() == b"a"


def test_a_published_checksum_decides(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = CATALOG["voc2012"].archives[0]
    body = tarred(("VOCdevkit/VOC2012/JPEGImages/2007_000027.jpg", noise(900)), mode="w")
    server.files[archive.file] = body
    with pytest.raises(InputError, match=rf"has MD5 .*not the {archive.md5} that torchvision") as raised:
        fetch("voc2012", tmp_path, server)
    assert "\n" not in str(raised.value)
    assert left(tmp_path) == set()

    good = replace(archive, md5=hashlib.md5(body).hexdigest())
    monkeypatch.setitem(CATALOG, "voc2012", replace(CATALOG["voc2012"], archives=(good,)))
    assert fetch("voc2012", tmp_path, server).recorded == ()
    assert left(tmp_path) == {"VOCdevkit"}


def test_files_that_are_no_archives_are_kept_as_they_are(server: Server, tmp_path: Path) -> None:
    names = [archive.file for archive in CATALOG["uap"].archives]
    assert "ResNet-152.mat" in names
    server.files = {name: b"MATLAB 5.0 MAT-file" + noise(600, seed=i) for i, name in enumerate(names)}
    assert fetch("uap", tmp_path, server).files == len(names)
    assert {name: (tmp_path / name).read_bytes() for name in names} == server.files


def test_archives_meet_in_the_same_folders_and_leave_other_files_alone(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "DUTS/lists").mkdir(parents=True)
    (tmp_path / "DUTS/lists/mine.txt").write_text("mine")
    server.files = {
        "DUTS-TR.zip": zipped(("DUTS/lists/train.txt", b"1\n"), ("DUTS/image/1.jpg", b"one")),
        "DUTS-TE.zip": zipped(("DUTS/lists/test.txt", b"2\n"), ("DUTS/image/2.jpg", b"two")),
    }
    assert fetch("duts", tmp_path, server).files == 4
    found = {str(path.relative_to(tmp_path / "DUTS")) for path in tmp_path.glob("DUTS/*/*")}
    assert found == {"lists/mine.txt", "lists/train.txt", "lists/test.txt", "image/1.jpg", "image/2.jpg"}


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_in_the_way_is_left_alone_and_nothing_is_unpacked_beside_it(
    server: Server, tmp_path: Path, kind: str
) -> None:
    server.files = {
        "DUTS-TR.zip": zipped(("DUTS/a/1.jpg", b"one"), ("DUTS/b/2.jpg", b"two")),
        "DUTS-TE.zip": zipped(("DUTS/c/3.jpg", b"three")),
    }
    (tmp_path / "DUTS").mkdir()
    way = tmp_path / ("DUTS/b/2.jpg" if kind == "folder" else "DUTS/b")
    if kind == "link":
        way.symlink_to("nowhere")
    elif kind == "file":
        way.write_text("mine")
    else:
        way.mkdir(parents=True)
    before = set((tmp_path / "DUTS").rglob("*"))
    coming = "file" if kind == "folder" else "folder"
    with pytest.raises(InputError, match=f"DUTS/b.*: is in the way of a {coming} of that name; move it"):
        fetch("duts", tmp_path, server)
    assert set((tmp_path / "DUTS").rglob("*")) == before
    way.rmdir() if kind == "folder" else way.unlink()
    server.log.clear()
    assert fetch("duts", tmp_path, server).files == 3
    assert [line for line in server.log if "DUTS-TR" in str(line)] == []  # it was there already


@pytest.mark.parametrize("way", ["file", "link"])
def test_a_file_of_the_users_own_is_left_alone(server: Server, tmp_path: Path, way: str) -> None:
    server.files = {
        "DUTS-TR.zip": zipped(("DUTS-TR/1.jpg", b"one"), ("DUTS-TR/2.jpg", b"two"), ("read.me", b"of TR")),
        "DUTS-TE.zip": zipped(("DUTS-TE/3.jpg", b"three"), ("read.me", b"of TE")),
    }
    (tmp_path / "DUTS-TR").mkdir()
    same, mine = tmp_path / "DUTS-TR" / "1.jpg", tmp_path / "DUTS-TR" / "2.jpg"
    same.write_bytes(b"one")
    if way == "file":
        mine.write_bytes(b"2!!")
    else:
        mine.symlink_to("nowhere")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"2\.jpg: is in the way of a different file of that name"):
        fetch("duts", tmp_path, server)
    assert way == "link" or mine.read_bytes() == b"2!!"
    assert before <= set(tmp_path.rglob("*"))
    mine.unlink()
    assert fetch("duts", tmp_path, server).files == 5
    assert (tmp_path / "read.me").read_bytes() == b"of TE"  # of two archives the later one's
    (tmp_path / "DUTS-TE" / "3.jpg").write_bytes(b"cut")
    assert fetch("duts", tmp_path, server).new == ("DUTS-TE.zip",)
    assert (tmp_path / "DUTS-TE" / "3.jpg").read_bytes() == b"three"  # what was fetched is mended


# Servers


def test_a_cut_download_goes_on_where_it_was(server: Server, tmp_path: Path, unrel: bytes) -> None:
    server.answers("cut", "good")
    fetch("unrel", tmp_path, server)
    half = len(server.files["unrel-dataset.tar.gz"]) // 2
    assert [request.get("range") for request in server.log] == [None, f"bytes={half}-"]
    assert server.log[1]["if-range"].startswith('"')
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path, unrel: bytes) -> None:
    whole = server.files["unrel-dataset.tar.gz"]
    half = len(whole) // 2
    server.answers("cut")
    with pytest.raises(InputError, match=rf"failed after {half} of {len(whole)} bytes.*again to go on"):
        fetch("unrel", tmp_path, server, tries=1)
    assert left(tmp_path) == {"unrel-dataset.tar.gz.part", "unrel-dataset.tar.gz.part.json"}
    assert (tmp_path / "unrel-dataset.tar.gz.part").read_bytes() == whole[:half]
    server.answers("good")
    fetch("unrel", tmp_path, server)
    assert [request.get("range") for request in server.log] == [f"bytes={half}-"]
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


def test_what_one_server_sent_is_not_continued_by_another(
    server: Server, tmp_path: Path, unrel: bytes
) -> None:
    server.answers("cut")
    with pytest.raises(InputError):
        fetch("unrel", tmp_path, server, tries=1)
    server.files["other/unrel-dataset.tar.gz"] = server.files["unrel-dataset.tar.gz"]
    server.answers("good")
    fetch("unrel", tmp_path, mirror=f"{server.url}/other/")
    assert "range" not in server.log[0]
    assert server.log[0]["path"] == "/other/unrel-dataset.tar.gz"


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path, unrel: bytes) -> None:
    server.answers("cut", "no range")
    fetch("unrel", tmp_path, server)
    assert "range" in server.log[1]
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


@pytest.mark.parametrize("way", ["good", "careless"])
def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(
    server: Server, tmp_path: Path, way: str
) -> None:
    """A good server sends it all again by itself; a careless one sends the rest of another version."""
    old, new = (gzip.compress(tarred(("1.jpg", noise(9000, seed)), mode="w"), 0) for seed in (0, 9))
    assert len(old) == len(new)
    server.files["unrel-dataset.tar.gz"] = old
    server.answers("cut")
    with pytest.raises(InputError):
        fetch("unrel", tmp_path, server, tries=1)
    server.files["unrel-dataset.tar.gz"] = new
    server.answers(way)
    fetch("unrel", tmp_path, server, tries=1)
    assert (tmp_path / "1.jpg").read_bytes() == noise(9000, seed=9)


def test_a_server_that_goes_on_elsewhere_is_asked_for_all(
    server: Server, tmp_path: Path, unrel: bytes
) -> None:
    server.answers("cut", "elsewhere")
    fetch("unrel", tmp_path, server)
    assert ["range" in request for request in server.log] == [False, True, False]
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


@pytest.mark.parametrize("size", [300_000, 1000])
def test_without_tags_the_size_tells_that_a_file_changed(
    server: Server, tmp_path: Path, unrel: bytes, size: int
) -> None:
    """Longer: the answer's range says so. Shorter than what is there: no such range (416)."""
    server.answers("untagged")
    with pytest.raises(InputError):
        fetch("unrel", tmp_path, server, tries=1)
    server.files["unrel-dataset.tar.gz"] = tarred(("unrel/images/1.jpg", noise(size, seed=9)))
    server.answers("careless")
    fetch("unrel", tmp_path, server, tries=1)
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == noise(size, seed=9)


def test_a_weak_tag_gives_way_to_the_date(server: Server, tmp_path: Path, unrel: bytes) -> None:
    server.answers("weak", "weak", "good")
    fetch("unrel", tmp_path, server)
    assert server.log[1]["if-range"] == "Fri, 11 May 2012 10:00:00 GMT"
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


def test_without_a_length_the_end_is_where_the_server_ends(
    server: Server, tmp_path: Path, unrel: bytes
) -> None:
    server.answers("no length")
    fetch("unrel", tmp_path, server)
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


def test_without_a_length_a_cut_is_seen_in_the_chunks(server: Server, tmp_path: Path, unrel: bytes) -> None:
    server.answers("cut chunks", "cut", "good")
    fetch("unrel", tmp_path, server)
    assert [request.get("range") for request in server.log][:2] == [None, "bytes=20480-"]
    assert len(server.log) == 3
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


def test_a_cut_in_the_first_bytes_is_no_wrong_file(server: Server, tmp_path: Path, unrel: bytes) -> None:
    server.answers("cut at once", "good")
    fetch("unrel", tmp_path, server)
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel


@pytest.mark.parametrize(("way", "requests"), [("stuck", 3), ("stuck further", 4)])
def test_a_server_that_always_stops_is_given_up(
    server: Server, tmp_path: Path, way: str, requests: int
) -> None:
    """One that came far has come further than before, once."""
    server.files["unrel-dataset.tar.gz"] = tarred(("unrel/1.bin", noise(2 << 20)))
    server.answers(way)
    said = rf"after {STOPS_AFTER[way]} of \d+ bytes \(the server closed the connection\)"
    with pytest.raises(InputError, match=said):
        fetch("unrel", tmp_path, server, tries=3)
    assert len(server.log) == requests


def test_a_server_that_always_stops_further_on_is_not(server: Server, tmp_path: Path) -> None:
    server.files["unrel-dataset.tar.gz"] = tarred(("unrel/1.bin", noise(7 << 20)))
    server.answers("megabyte and a half")
    fetch("unrel", tmp_path, server, tries=1)
    assert len(server.log) == 5
    assert (tmp_path / "unrel/1.bin").stat().st_size == 7 << 20


@pytest.mark.parametrize(
    ("way", "said"), [("trickle", r"\(\d+ bytes in"), ("silent", r"\(no answer within 0.25 s")]
)
def test_a_server_that_stands_still_is_asked_again(
    server: Server, tmp_path: Path, unrel: bytes, way: str, said: str
) -> None:
    server.answers(way, "good")
    began = time.monotonic()
    fetch("unrel", tmp_path, server, timeout=0.25)
    assert len(server.log) == 2
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel
    (tmp_path / "unrel/a.txt").unlink()
    server.answers(way)
    with pytest.raises(InputError, match=rf"the download failed .*{said}"):
        fetch("unrel", tmp_path, server, timeout=0.25, tries=2)
    assert len(server.log) == 2
    assert time.monotonic() - began < 2.5  # to its end, one trickle takes four seconds


def test_a_server_that_is_merely_slow_is_waited_for(server: Server, tmp_path: Path, unrel: bytes) -> None:
    server.answers("steady")
    began = time.monotonic()
    fetch("unrel", tmp_path, server, timeout=0.5)
    assert time.monotonic() - began > 0.5
    assert len(server.log) == 1


def test_waits_double_from_try_to_try(
    server: Server, tmp_path: Path, unrel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.answers(503, 429, 500, "good")
    fetch("unrel", tmp_path, server, tries=4, pause=0.5)
    assert waits == [0.5, 1.0, 2.0]
    assert len(server.log) == 4


def test_a_server_that_nobody_runs_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match=r"the download failed .*refused"):
            fetch("unrel", tmp_path, mirror=mirror)
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("way", "said"),
    [(404, "answers 404 Not Found"), (403, "answers 403 Forbidden"), ("page", "answers with a web page")],
)
def test_a_wrong_answer_is_said_at_once_with_the_home_page(
    server: Server, tmp_path: Path, unrel: bytes, way: str | int, said: str
) -> None:
    server.answers(way)
    with pytest.raises(InputError, match=said) as raised:
        fetch("unrel", tmp_path, server)
    assert CATALOG["unrel"].home in str(raised.value)
    assert len(server.log) == 1
    assert left(tmp_path) == set()


def test_a_web_page_in_between_does_not_cost_what_is_there(
    server: Server, tmp_path: Path, unrel: bytes
) -> None:
    server.answers("cut", "page")
    with pytest.raises(InputError, match="a web page"):
        fetch("unrel", tmp_path, server)
    server.answers("good")
    fetch("unrel", tmp_path, server)
    assert server.log[0]["range"] == f"bytes={len(server.files['unrel-dataset.tar.gz']) // 2}-"


def test_a_server_that_never_comes_to_its_answer_is_given_up(
    server: Server, tmp_path: Path, unrel: bytes
) -> None:
    server.answers("patience", "good")
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"the download failed \(no answer within 0\.2 s\)"):
        fetch("unrel", tmp_path, server, timeout=0.2, tries=1)
    assert time.monotonic() - begun < 2.5  # of the five seconds that it would take
    assert fetch("unrel", tmp_path, server, timeout=0.2).files == 2


@pytest.mark.parametrize("way", ["half a length", "trailers"])
def test_a_body_that_never_comes_to_its_end_is_given_up(
    server: Server, tmp_path: Path, unrel: bytes, way: str
) -> None:
    server.answers(way)
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"the download failed .*no answer within 0\.2 s"):
        fetch("unrel", tmp_path, server, timeout=0.2, tries=1)
    assert time.monotonic() - begun < 5  # of the ten seconds that it would take
    server.answers("good")
    assert fetch("unrel", tmp_path, server).files == 2


def test_what_stands_below_a_redirection_is_not_waited_for(
    server: Server, tmp_path: Path, unrel: bytes
) -> None:
    server.answers(f"to {server.url}/unrel-dataset.tar.gz", "good")
    begun = time.monotonic()
    assert fetch("unrel", tmp_path, server).files == 2
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "goal",
    [
        "ftp://127.0.0.1/a.tar.gz",
        "file:///etc/hosts",
        "http://[::1/unrel-dataset.tar.gz",
        f"http://{'a' * 70}/a.tar.gz",
    ],
)
def test_a_redirection_to_no_address_is_one_line(
    server: Server, tmp_path: Path, unrel: bytes, goal: str
) -> None:
    server.answers(f"to {goal}")
    with pytest.raises(InputError, match="by hand and give --mirror"):
        fetch("unrel", tmp_path, server)
    assert left(tmp_path) == set()


def test_what_begins_like_no_archive_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["unrel-dataset.tar.gz"] = b'{"error": "quota"}' * 50
    with pytest.raises(InputError, match=r"something else instead of a \.tar\.gz file"):
        fetch("unrel", tmp_path, server)


@pytest.mark.parametrize("way", ["good", "no length"])
def test_a_file_without_end_is_refused(
    server: Server, tmp_path: Path, unrel: bytes, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    small = replace(CATALOG["unrel"].archives[0], max_bytes=5000)
    monkeypatch.setitem(CATALOG, "unrel", replace(CATALOG["unrel"], archives=(small,)))
    server.answers(way)
    with pytest.raises(InputError, match="is larger than 5000 bytes"):
        fetch("unrel", tmp_path, server)
    assert left(tmp_path) == set()


# Archives


def symlink_in_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("DUTS/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def endless_header() -> bytes:
    """A tar whose first header says that a text of 8 GiB follows."""
    info = entry("name", tarfile.XHDTYPE)
    info.size = 8 << 30
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))


def encrypted_zip() -> bytes:
    body = bytearray(zipped(("a.txt", b"a")))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(magic) + at] |= 1
    return bytes(body)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "dots": (lambda: tarred(("ok", b"1"), ("a/../../evil", b"x")), "outside the folder"),
    "absolute": (lambda: tarred(("ok", b"1"), ("/evil", b"x")), "outside the folder"),
    "symlink": (lambda: tarred(entry("a", tarfile.SYMTYPE, "/etc"), ("a/evil", b"x")), "link or a device"),
    "hardlink": (lambda: tarred(("ok", b"1"), entry("a", tarfile.LNKTYPE, "ok")), "link or a device"),
    "device": (lambda: tarred(entry("a", tarfile.CHRTYPE)), "link or a device"),
    "pipe": (lambda: tarred(entry("a", tarfile.FIFOTYPE)), "link or a device"),
    "bomb": (lambda: tarred(("ok", b"1"), ("a", bytes(20 << 20))), "unpacks to more than it may"),
    "endless header": (endless_header, "no reasonable length"),
    "file and folder": (lambda: tarred(("a", b"1"), ("a/b", b"2")), "both a file and a folder"),
    "our own record": (lambda: tarred(("CHECKSUMS.json", b"{}")), "a name that fetching itself uses"),
    "our own lists": (lambda: tarred((".fetched/a.json", b"{}")), "a name that fetching itself uses"),
    "zip dots": (lambda: zipped(("ok", b"1"), ("../evil", b"x")), "outside the folder"),
    "zip absolute": (lambda: zipped(("ok", b"1"), ("/evil", b"x")), "outside the folder"),
    "zip backslashes": (lambda: zipped(("ok", b"1"), ("..\\evil", b"x")), "outside the folder"),
    "zip drive": (lambda: zipped(("ok", b"1"), ("c:evil", b"x")), "outside the folder"),
    "zip symlink": (symlink_in_zip, "link or a device"),
    "zip bomb": (lambda: zipped(("ok", b"1"), ("a", bytes(20 << 20))), "unpacks to more than it may"),
    "zip encrypted": (encrypted_zip, "encrypted"),
    "empty": (lambda: tarred(), "it holds no file"),
    "folders alone": (lambda: tarred(entry("a", tarfile.DIRTYPE)), "it holds no file"),
    "zip empty": (lambda: zipped(), "it holds no file"),
    "long name": (lambda: tarred(("ok", b"1"), ("a/" + "b" * 300, b"x")), "too long a name"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_that_means_harm_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, said = HOSTILE[kind]
    body = make()
    name = "hostile.zip" if body[:2] == b"PK" else "hostile.tar.gz"
    archive = Archive(url=f"http://example.org/{name}", about=1, max_bytes=1 << 30)
    monkeypatch.setitem(CATALOG, "toy", Source(home="http://example.org", archives=(archive,)))
    server.files[name] = body
    root = tmp_path / "inner" / "root"
    with pytest.raises(InputError, match=f"is not unpacked: .*{said}") as raised:
        fetch("toy", root, server)
    assert "\n" not in str(raised.value)
    assert not root.exists()
    assert [path.name for path in tmp_path.rglob("*evil*")] == []


def test_the_bytes_and_the_number_of_files_are_bounded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = CATALOG["unrel"].archives[0]
    server.files[archive.file] = tarred(*((f"{number}.jpg", noise(3000)) for number in range(10)))

    def at_most(size: int) -> None:
        monkeypatch.setitem(
            CATALOG, "unrel", replace(CATALOG["unrel"], archives=(replace(archive, max_bytes=size),))
        )

    at_most(29_999)
    with pytest.raises(InputError, match="unpacks to more than it may"):
        fetch("unrel", tmp_path, server)
    at_most(30_000)
    monkeypatch.setattr(download, "MAX_FILES", 9)
    with pytest.raises(InputError, match="holds more than 9 files"):
        fetch("unrel", tmp_path, server)
    assert left(tmp_path) == set()
    monkeypatch.setattr(download, "MAX_FILES", 10)
    assert fetch("unrel", tmp_path, server).bytes == 30_000


def spoiled_zip() -> bytes:
    body = bytearray(zipped(("a.jpg", noise(4000))))
    body[2000] ^= 1
    return bytes(body)


def lying_zip() -> bytes:
    """A zip that holds 20 MB and says 100 bytes."""
    body = bytearray(zipped(("a.jpg", bytes(20 << 20))))
    for magic, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = body.index(magic) + at
        body[start : start + 4] = (100).to_bytes(4, "little")
    return bytes(body)


def nameless_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", b"a")
        info = zipfile.ZipInfo("b")
        info.filename = ""
        archive.writestr(info, b"b")
    return out.getvalue()


def sparse_tar() -> bytes:
    """A tar whose header promises a map of holes that is not there."""
    info = tarfile.TarInfo("a.jpg")
    info.size = 4
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.jpg"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"none"))
    return out.getvalue()


def spoiled_header() -> bytes:
    """A tar whose second header is damaged: tarfile alone takes that for the end."""
    body = bytearray(tarred(("a.jpg", noise(512)), ("b.jpg", noise(900)), mode="w"))
    body[1024 + 150] ^= 1
    return gzip.compress(bytes(body))


def boastful_zip() -> bytes:
    """A zip that holds 4000 bytes and says in its directory that they are 5000."""
    body = bytearray(zipped(("a.jpg", noise(4000))))
    start = body.index(b"PK\x01\x02") + 24
    body[start : start + 4] = (5000).to_bytes(4, "little")
    return bytes(body)


@pytest.mark.parametrize(
    ("beside", "text"),
    [
        ("unrel-dataset.tar.gz.part.json", "[]"),
        ("unrel-dataset.tar.gz.part.json", "[" * 200_000),
        ("unrel-dataset.tar.gz.part.json", '{"etag": 5}'),
        (".fetched/unrel-unrel-dataset.tar.gz.json", "[]"),
        (".fetched/unrel-unrel-dataset.tar.gz.json", '{"bytes_of": {}}'),
        (".fetched/unrel-unrel-dataset.tar.gz.json", '{"bytes_of": {"a.jpg": "1"}}'),
        (".fetched/another.json", '{"bytes_of": 5}'),
    ],
)
def test_a_damaged_note_beside_a_download_is_named(
    server: Server, tmp_path: Path, beside: str, text: str
) -> None:
    server.files["unrel-dataset.tar.gz"] = tarred(("a.jpg", b"a"))
    note = tmp_path / beside
    note.parent.mkdir(exist_ok=True)
    note.write_text(text)
    with pytest.raises(InputError, match="is damaged") as error:
        fetch("unrel", tmp_path, server)
    assert str(note) in str(error.value)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("DUTS-TR.zip", spoiled_zip),
        ("DUTS-TR.zip", lying_zip),
        ("DUTS-TR.zip", boastful_zip),
        ("DUTS-TR.zip", lambda: zipped(("a.jpg", noise(4000)))[:-30]),
        ("DUTS-TR.zip", nameless_zip),
        ("unrel-dataset.tar.gz", sparse_tar),
        ("unrel-dataset.tar.gz", spoiled_header),
        ("unrel-dataset.tar.gz", lambda: tarred(("a.jpg", noise(4000)))[:-300]),
        ("unrel-dataset.tar.gz", lambda: tarred(("a.jpg", b"a"))[:-8] + bytes(8)),
    ],
)
def test_a_damaged_archive_leaves_nothing(
    server: Server, tmp_path: Path, name: str, make: Callable[[], bytes]
) -> None:
    server.files[name] = make()
    with pytest.raises(InputError, match="is damaged"):
        fetch("duts" if name.endswith("zip") else "unrel", tmp_path, server)
    assert left(tmp_path) == set()


def test_unpacking_that_is_interrupted_leaves_nothing_and_is_made_up_for_without_a_server(
    server: Server, tmp_path: Path, unrel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = download._write

    def interrupted(member: Any, goal: Path) -> None:
        write(member, goal)
        if goal.name == "1.jpg":
            raise KeyboardInterrupt

    monkeypatch.setattr(download, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("unrel", tmp_path, server)
    assert left(tmp_path) == {"unrel-dataset.tar.gz.part", "unrel-dataset.tar.gz.part.json"}
    monkeypatch.undo()
    server.log.clear()
    killed = tmp_path / ".unrel-dataset.tar.gz.unpacking"  # had there been no time to clear up
    killed.mkdir()
    (killed / "half").write_text("half")
    assert fetch("unrel", tmp_path, server).files == 2
    assert server.log == []
    assert left(tmp_path) == {"unrel", "CHECKSUMS.json"}


@pytest.mark.parametrize("limit", [100_000, 170_000])
def test_a_full_disk_is_the_work_failing_and_costs_nothing(
    server: Server, tmp_path: Path, limit: int
) -> None:
    """The archive has about 150,000 bytes and the file in it 200,000: the disk fills before or after."""
    content = bytes(random.Random(0).choices(range(64), k=200_000))
    server.files["DUTS-TR.zip"] = zipped(("DUTS-TR/1.jpg", content))
    server.files["DUTS-TE.zip"] = zipped(("DUTS-TE/1.jpg", b"1"))
    assert 145_000 < len(server.files["DUTS-TR.zip"]) < 160_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(WorkError, match=r"could not be written .*go on"):
            fetch("duts", tmp_path, server)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(tmp_path) == {"DUTS-TR.zip.part", "DUTS-TR.zip.part.json"}
    assert len(server.log) == 1
    fetch("duts", tmp_path, server)
    assert (tmp_path / "DUTS-TR/1.jpg").read_bytes() == content


# Mirrors and names


def test_a_mirror_is_an_argument_or_in_the_environment(
    server: Server, tmp_path: Path, unrel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a/unrel-dataset.tar.gz"] = server.files["b/unrel-dataset.tar.gz"] = server.files.pop(
        "unrel-dataset.tar.gz"
    )
    monkeypatch.setenv("SEGMIX_MIRROR", f"{server.url}/a")
    fetch("unrel", tmp_path / "1")
    fetch("unrel", tmp_path / "2", mirror=f"{server.url}/b")
    assert [request["path"] for request in server.log] == [
        "/a/unrel-dataset.tar.gz",
        "/b/unrel-dataset.tar.gz",
    ]


def test_the_command_fetches_from_a_mirror(server: Server, tmp_path: Path, unrel: bytes) -> None:
    command = ("data", "fetch", "unrel", "--root", tmp_path, "--mirror", f"{server.url}/at")
    archive = server.files["at/unrel-dataset.tar.gz"] = server.files.pop("unrel-dataset.tar.gz")
    document = segmix(*command, "--json").document()
    recorded = {"name": str, "url": str, "sha256": str, "bytes": int}
    has_kind(
        document, {"files": int, "bytes": int, "problems": list, "recorded": [recorded], "fetched": [str]}
    )
    assert (document["files"], document["bytes"], document["problems"]) == (2, len(unrel) + 1, [])
    assert document["recorded"][0]["sha256"] == hashlib.sha256(archive).hexdigest()
    assert document["fetched"] == ["unrel-dataset.tar.gz"]
    assert (tmp_path / "unrel/images/1.jpg").read_bytes() == unrel
    assert [request["path"] for request in server.log] == ["/at/unrel-dataset.tar.gz"]
    assert segmix(*command, "--json").document() == document | {"fetched": []}


@pytest.mark.parametrize("form", ["{folder}", "{folder}/VOC2012test.tar"])
def test_what_needs_an_account_is_taken_from_a_local_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.delenv("SEGMIX_MIRROR", raising=False)
    with pytest.raises(InputError, match=r"only to those with an account at http.*--mirror file:///"):
        fetch("voc2012-test", tmp_path / "root")
    assert not (tmp_path / "root").exists()

    folder = tmp_path / "my downloads"
    mirror = form.format(folder=folder.as_uri())
    with pytest.raises(InputError, match=r"VOC2012test\.tar: no such file"):
        fetch("voc2012-test", tmp_path / "root", mirror=mirror)
    folder.mkdir()
    local = folder / "VOC2012test.tar"
    local.write_bytes(tarred(("VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt", b"1\n"), mode="w"))
    with pytest.raises(InputError, match="has MD5"):
        fetch("voc2012-test", tmp_path / "root", mirror=mirror)
    assert local.exists()  # it is the user's

    source = CATALOG["voc2012-test"]
    md5 = hashlib.md5(local.read_bytes()).hexdigest()
    monkeypatch.setitem(
        CATALOG, "voc2012-test", replace(source, archives=(replace(source.archives[0], md5=md5),))
    )
    fetch("voc2012-test", tmp_path / "root", mirror=mirror)
    assert (tmp_path / "root/VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt").read_bytes() == b"1\n"
    assert local.exists()


@pytest.mark.parametrize("mirror",
    ["downloads/voc", "ftp://example.org", "file://downloads", "https:///a", "http://[::1", "http://a:b/c",
     "http://example.org/\u00fcber", "http://example.org/a b"],
)  # fmt: skip
def test_a_mirror_that_is_no_address_is_refused(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        fetch("unrel", tmp_path, mirror=mirror)


def test_a_file_is_named_without_the_query_of_its_address(server: Server, tmp_path: Path) -> None:
    server.files["perturbations.tar.gz"] = tarred(("perturbation_segmentation/a.npy", b"a"))
    assert fetch("gd-uap", tmp_path, server).new == ("perturbations.tar.gz",)
    assert (tmp_path / "perturbation_segmentation" / "a.npy").exists()


def test_unknown_names_and_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown name 'voc12'; did you mean 'voc2012'\?"):
        fetch("voc12", tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot write here"):
        fetch("unrel", tmp_path / "file")


def test_a_damaged_record_is_said_before_the_download(server: Server, tmp_path: Path, unrel: bytes) -> None:
    whole = {"name": "unrel/a.zip", "url": "http://example.org", "sha256": "0" * 64, "bytes": 1}
    for text in (
        "{",
        '{"files": [{"name": "unrel"}]}',
        json.dumps({"files": [whole | {"name": 5}]}),
        "[" * 10**5,
    ):
        (tmp_path / "CHECKSUMS.json").write_text(text)
        with pytest.raises(InputError, match=r"CHECKSUMS\.json: is damaged"):
            fetch("unrel", tmp_path, server)
    (tmp_path / "CHECKSUMS.json").unlink()
    (tmp_path / "CHECKSUMS.json").mkdir()
    with pytest.raises(InputError, match=r"CHECKSUMS\.json: is no file"):
        fetch("unrel", tmp_path, server)
    (tmp_path / "CHECKSUMS.json").rmdir()
    (tmp_path / ".fetched").write_text("mine")
    with pytest.raises(InputError, match=r"\.fetched: is no folder"):
        fetch("unrel", tmp_path, server)
    assert server.log == []


# The catalog


def test_the_catalog_gives_addresses_and_says_who_published_each_checksum() -> None:
    archives = [archive for source in CATALOG.values() for archive in source.archives]
    assert len({archive.url for archive in archives}) == len(archives)
    for archive in archives:
        assert re.fullmatch(r"https?://[\w.:-]+/[\w./-]+(\?dl=1)?", archive.url)
        assert download._kind(archive.file)
        assert archive.about < archive.max_bytes
        assert (archive.md5 is None) == (archive.md5_from is None)
        assert archive.md5 is None or re.fullmatch("[0-9a-f]{32}", archive.md5)


@pytest.mark.parametrize(("name", "module"), [("voc2012", "voc.py"), ("sbd", "sbd.py")])
def test_checksums_are_those_that_torchvision_publishes(name: str, module: str) -> None:
    spec = find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    published = (Path(spec.origin).parent / "datasets" / module).read_text()
    archive = CATALOG[name].archives[0]
    assert archive.md5_from == f"torchvision, torchvision/datasets/{module}"
    at = published.index(f'"{archive.url}"')
    assert f'"{archive.md5}"' in published[at : at + 200]
