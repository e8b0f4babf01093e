"""Fetch a published data set: resumed where it was cut, checked, and unpacked whole or not at all.

Under the root lie, beside the data, `FILE.part` (a download to go on from, with `FILE.part.json` that says
of which version of the file it is), `.fetched/` (what each archive unpacked to) and CHECKSUMS.json (the
SHA-256 of archives whose publisher gives none, recorded at first fetch). An archive is removed once it is
unpacked.
"""

from __future__ import annotations

import errno
import filecmp
import gzip
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import socket
import stat
import struct
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from segmix_core import __version__
from segmix_core.data.catalog import CATALOG, MAX_FACTOR, MAX_FILES, Archive, Source
from segmix_core.errors import InputError, WorkError
from segmix_core.experiments import nearest
from segmix_core.files import alone, file_digest, parse_json, write_text

_BLOCK = 1 << 18
_SLOWEST = 1024  # bytes; a server that sends fewer within a whole timeout counts as silent
_STEP = 1 << 20  # bytes; a try that came this much further than any before does not count
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that a later try may not get
_RECORD = "CHECKSUMS.json"
_KEPT = (_RECORD, ".fetched", ".lock")  # names under the root that no archive may write
_START = {  # where each kind of file says what it is
    ".zip": (0, b"PK"),
    ".tar": (257, b"ustar"),
    ".tgz": (0, b"\x1f\x8b"),
    ".tar.gz": (0, b"\x1f\x8b"),
    ".mat": (0, b"MATLAB"),
}


@dataclass(frozen=True)
class Recorded:
    """An archive without a published checksum, as it was at the first fetch."""

    name: str  # data set and file
    url: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.name, self.url, self.sha256)):
            raise TypeError("a name, address or checksum that is no text")


@dataclass(frozen=True)
class Fetched:
    """What lies under the root now."""

    files: int
    bytes: int
    recorded: tuple[Recorded, ...]
    new: tuple[str, ...]  # archives fetched by this call; empty where all was there


def fetch(
    name: str,
    root: Path,
    *,
    mirror: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    timeout: float = 30.0,
    tries: int = 5,
    pause: float = 1.0,
) -> Fetched:
    """Bring the archives of a data set under `root`; nothing is done for those that are there already.

    Args:
        name: a name of `CATALOG`.
        mirror: takes the place of the part of each address before the file name (http, https, file);
            by default what the environment variable SEGMIX_MIRROR holds.
        progress: is told bytes done and bytes in all; the latter are a guess until each file has begun.
        timeout: seconds of silence after which a connection is given up.
        tries: connections in a row that may fail without the download having come further.
        pause: seconds before the first new try, doubled for each one after.

    Raises:
        InputError: an unknown name or mirror, an account is needed; the server refuses, stops for good or
            sends something else; a wrong checksum; an archive that is damaged or not safe to unpack;
            something under `root` is in the way of it.
        WorkError: the disk is full or fails.
    """
    if name not in CATALOG:
        raise nearest("data set", name, CATALOG)
    source, root = CATALOG[name], Path(root)
    mirror = mirror or os.environ.get("SEGMIX_MIRROR") or None
    urls = [_address(archive, mirror) for archive in source.archives]
    if source.needs_account and mirror is None:
        raise InputError(
            name,
            f"{source.archives[0].file} is given out only to those with an account at {source.home}",
            "download it there and give --mirror file:///FOLDER-IT-LIES-IN",
        )
    sizes = [archive.about for archive in source.archives]
    counts, totals, new = 0, 0, []
    with alone(root):
        _read_record(root)  # if that is damaged, it is better said before the download
        if (root / ".fetched").exists() and not (root / ".fetched").is_dir():
            raise InputError(root / ".fetched", "is no folder", "remove it")
        for index, (archive, url) in enumerate(zip(source.archives, urls, strict=True)):
            unpacked = _unpacked(root, name, archive)
            if unpacked is None:

                def told(done: int, size: int, index: int = index) -> None:
                    sizes[index] = size
                    if progress is not None:
                        progress(sum(sizes[:index]) + done, sum(sizes))

                line = _Line(timeout, tries, pause, told)
                unpacked = _fetch_archive(root, name, source, archive, url, line)
                new.append(archive.file)
            counts += len(unpacked)
            totals += sum(unpacked.values())
        recorded = [entry for entry in _read_record(root).values() if entry.name.startswith(f"{name}/")]
    return Fetched(counts, totals, tuple(recorded), tuple(new))


def _address(archive: Archive, mirror: str | None) -> str:
    if mirror is None:
        return archive.url
    if not _is_address(mirror):
        raise InputError(
            f"mirror {mirror}", "is no address", "begin it with https:// or http://, in ASCII, or file:///"
        )
    mirror = mirror.rstrip("/")
    return mirror if mirror.endswith(f"/{archive.file}") else f"{mirror}/{archive.file}"


def _is_address(text: str) -> bool:
    """Of a server, as it goes over the line, or of a local folder."""
    try:
        address = urllib.parse.urlsplit(text)
        plain = text.isascii() and text.isprintable() and " " not in text and address.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    if address.scheme == "file":
        return not address.netloc
    return address.scheme in ("http", "https") and bool(address.hostname) and plain


@dataclass(frozen=True)
class _Line:
    """How to deal with a server, and whom to tell."""

    timeout: float
    tries: int
    pause: float
    told: Callable[[int, int], None]


def _fetch_archive(
    root: Path, name: str, source: Source, archive: Archive, url: str, line: _Line
) -> dict[str, int]:
    """Download, check, unpack and record one archive; returns the bytes of each file it held."""
    local = urllib.parse.urlsplit(url)
    if local.scheme == "file":
        file = Path(urllib.request.url2pathname(local.path))
        if not file.is_file():
            raise InputError(file, "no such file", f"put {archive.file} from {source.home} there")
        remove: Callable[[], None] = _nothing  # what is not ours stays
    else:
        part = _Part(root / f"{archive.file}.part", url)
        _download(part, archive, source, line)
        file, remove = part.path, part.discard
    key = f"{name}/{archive.file}"
    try:
        found = _check_sum(root, key, archive, url, file)
        unpacked = _unpack_into(root, archive, url, file)
    except _WrongFileError:
        remove()  # it would be found wrong again
        raise
    if found is not None:
        _write_record(root, found)
    write_text(_list_path(root, name, archive), json.dumps({"bytes_of": unpacked}))
    remove()
    return unpacked


def _nothing() -> None:
    pass


class _WrongFileError(InputError):
    """The file that came is not the one that was asked for, or cannot be used."""


# What has been fetched


def _list_path(root: Path, name: str, archive: Archive) -> Path:
    return root / ".fetched" / f"{name}-{archive.file}.json"


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, f"is damaged ({error})", "remove it to fetch anew") from error


def _unpacked(root: Path, name: str, archive: Archive) -> dict[str, int] | None:
    """The files an archive unpacked to, with their bytes, if every one of them is still there."""
    path = _list_path(root, name, archive)
    if not path.is_file():
        return None
    bytes_of = _listed(path)
    whole = all(
        (root / file).is_file() and (root / file).stat().st_size == size for file, size in bytes_of.items()
    )
    return bytes_of if whole else None


def _listed(path: Path) -> dict[str, int]:
    """What a list says that an archive unpacked to: files, never none, and their bytes."""
    known = _read_json(path)
    bytes_of = known.get("bytes_of") if isinstance(known, dict) else None
    if not (
        isinstance(bytes_of, dict) and bytes_of and all(isinstance(size, int) for size in bytes_of.values())
    ):
        raise InputError(path, "is damaged (no list of files)", "remove it to unpack anew")
    return bytes_of


def _read_record(root: Path) -> dict[str, Recorded]:
    path = root / _RECORD
    if not path.exists():
        return {}
    if not path.is_file():
        raise InputError(path, "is no file", "remove it to record anew")
    try:
        return {entry["name"]: Recorded(**entry) for entry in _read_json(path)["files"]}
    except (KeyError, TypeError) as error:
        raise InputError(path, f"is damaged ({error})", "remove it to record anew") from error


def _write_record(root: Path, entry: Recorded) -> None:
    entries = _read_record(root) | {entry.name: entry}
    document = {
        "checksums": "recorded at first fetch: none is published for these files",
        "files": [asdict(one) for _, one in sorted(entries.items())],
    }
    write_text(root / _RECORD, json.dumps(document, indent=1) + "\n")


def _check_sum(root: Path, key: str, archive: Archive, url: str, file: Path) -> Recorded | None:
    """Hold `file` to its published MD5, or to the SHA-256 recorded before; one not known yet is returned."""
    if archive.md5 is not None:
        with file.open("rb") as opened:
            # not for safety: MD5 is what has been published
            md5 = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != archive.md5:
            raise _WrongFileError(
                url,
                f"has MD5 {md5}, not the {archive.md5} that {archive.md5_from} gives",
                "fetch it again, or from another --mirror",
            )
        return None
    found = Recorded(key, url, file_digest(file), file.stat().st_size)
    before = _read_record(root).get(key)
    if before is None:
        return found
    if found.sha256 != before.sha256:
        raise _WrongFileError(
            url,
            f"has SHA-256 {found.sha256}, not the {before.sha256} recorded at first fetch",
            f"fetch it again, or take its entry out of {root / _RECORD} if the publisher renewed it",
        )
    return None


# Downloading


class _DroppedError(Exception):
    """A connection that failed in a way that a later one may not."""


class _Part:
    """A download that may be cut: `path`, and beside it the version of the file on the server."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self.etag: str | None = None
        self.modified: str | None = None
        self.total: int | None = None  # bytes of the whole file, where the server said
        self._beside = path.with_name(f"{path.name}.json")
        known = _read_json(self._beside) if self._beside.is_file() else {}
        kinds = {"url": str, "etag": str, "modified": str, "total": int}
        if not isinstance(known, dict) or not all(
            isinstance(known.get(name), kind | None) for name, kind in kinds.items()
        ):
            raise InputError(self._beside, "is damaged (other fields than ours)", "remove it to fetch anew")
        if known.get("url") == url:
            self.etag, self.modified, self.total = (known.get(key) for key in ("etag", "modified", "total"))
        else:
            self.discard()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str | None:
        """What If-Range may hold: a strong tag, or else the date."""
        strong = self.etag is not None and not self.etag.startswith("W/")
        return self.etag if strong else self.modified

    def begin(self, headers: http.client.HTTPMessage, total: int | None) -> None:
        """Forget what is there and expect the file that these headers announce."""
        self.discard()
        self.etag, self.modified = headers["ETag"], headers["Last-Modified"]
        self.note(total)

    def note(self, total: int | None) -> None:
        self.total = total
        known = {"url": self.url, "etag": self.etag, "modified": self.modified, "total": total}
        write_text(self._beside, json.dumps(known))

    def goes_on(self, headers: http.client.HTTPMessage) -> bool:
        """Whether a partial answer begins where this ends, and is of the same version."""
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers["Content-Range"] or "")
        if match is None or int(match[1]) != self.size:
            return False
        pairs = ((self.etag, headers["ETag"]), (self.modified, headers["Last-Modified"]))
        same = all(old == new for old, new in pairs if old and new)
        return same and (match[2] == "*" or self.total in (None, int(match[2])))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)


def _download(part: _Part, archive: Archive, source: Source, line: _Line) -> None:
    """Fill `part`, going on from what is there, over as many connections as it takes."""
    furthest, left = part.size, line.tries
    while True:
        try:
            return _one_connection(part, archive, source, line)
        except (OSError, http.client.HTTPException, _DroppedError) as error:
            left = line.tries if part.size >= furthest + _STEP else left - 1
            furthest = max(furthest, part.size)
            if left <= 0:
                came = f" after {part.size} of {part.total or 'unknown'} bytes" if part.size else ""
                raise InputError(
                    part.url,
                    f"the download failed{came} ({_reason(error)})",
                    "give the same command again to go on, or another --mirror",
                ) from error
            time.sleep(line.pause * 2.0 ** (line.tries - left - 1))


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)  # a URLError wraps another
    return str(reason) or type(reason).__name__


def _one_connection(part: _Part, archive: Archive, source: Source, line: _Line) -> None:
    if part.size and part.size == part.total:
        return
    with _answer(part, archive, source, line.timeout) as response:
        total, blocks = response.length, _blocks(response, line.timeout)
        if response.status != 206 or not part.size:
            head = b""
            while len(head) < 512 and (block := next(blocks, b"")):
                head += block
            if total is not None and len(head) < min(total, 512):
                raise _DroppedError("the server closed the connection")
            _refuse_other(part.url, archive, source, response.headers, head)
            if total is not None:
                _refuse_larger(part.url, archive, total)
            part.begin(response.headers, total)  # only now: a web page in between costs no download
            _append(part, head, archive)
        elif part.total is None and total is not None:
            part.note(part.size + total)
        while True:
            line.told(part.size, part.total or max(part.size, archive.about))
            if not (block := next(blocks, b"")):
                break
            _append(part, block, archive)
    if part.total is None:
        part.note(part.size)
    if part.size != part.total:
        raise _DroppedError("the server closed the connection")


class _Response(http.client.HTTPResponse):
    """An answer that knows its line, which urllib hands out no more."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.line = sock


@contextmanager
def _in_time(line: socket.socket, timeout: float) -> Iterator[None]:
    """Let a read end within `timeout` seconds, which by itself is of each single wait for a byte."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        with suppress(OSError):  # it was closed meanwhile
            line.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(timeout, give_up)
    watch.start()
    try:
        yield
    except Exception as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise TimeoutError(f"no answer within {timeout:g} s") from error
        raise
    finally:
        watch.cancel()
    if late.is_set():
        raise TimeoutError(f"no answer within {timeout:g} s")


class _Connection(http.client.HTTPConnection):
    response_class = _Response

    def getresponse(self) -> http.client.HTTPResponse:
        with _in_time(self.sock, self.timeout or 0.0):
            return super().getresponse()


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _Redirection(urllib.request.HTTPRedirectHandler):
    """To http and https alone; whatever stands below the headers, and may have no end, is not read."""

    def http_error_302(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any) -> Any:
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(("http://", "https://")):
            raise ValueError(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Http, _Https, _Redirection)


def _answer(part: _Part, archive: Archive, source: Source, timeout: float) -> _Response:
    """Ask for what is missing; where the server has another file by now, for all of it."""
    headers = {"User-Agent": f"segmix/{__version__}", "Accept-Encoding": "identity"}
    partial = part.size > 0
    if partial:
        headers["Range"] = f"bytes={part.size}-"
        if part.validator:
            headers["If-Range"] = part.validator
    request = urllib.request.Request(part.url, headers=headers)
    try:
        response: _Response = _OPENER.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with closing(error):
            if error.code in _PASSING:
                raise _DroppedError(f"the server answers {error.code} {error.reason}") from error
            if error.code != 416 or not partial:
                raise InputError(
                    part.url, f"the server answers {error.code} {error.reason}", _by_hand(archive, source)
                ) from error
    except ValueError as error:  # of an address that a redirection names
        raise InputError(
            part.url, f"the server sends on to what is no address ({error})", _by_hand(archive, source)
        ) from error
    else:
        if response.status != 206 or not partial or part.goes_on(response.headers):
            return response
        response.close()
    part.discard()
    return _answer(part, archive, source, timeout)


def _by_hand(archive: Archive, source: Source) -> str:
    return f"get {archive.file} from {source.home} by hand and give --mirror file:///FOLDER-IT-LIES-IN"


def _blocks(response: _Response, timeout: float) -> Iterator[bytes]:
    """The body as it comes; TimeoutError where it all but stands still."""
    since, came = time.monotonic(), 0

    def read() -> bytes:
        with _in_time(response.line, timeout):
            return response.read1(_BLOCK)

    while block := read():
        came += len(block)
        yield block
        now = time.monotonic()
        if now - since > timeout:
            if came < _SLOWEST:
                raise TimeoutError(f"{came} bytes in {now - since:.1f} s")
            since, came = now, 0


def _append(part: _Part, block: bytes, archive: Archive) -> None:
    try:
        _refuse_larger(part.url, archive, part.size + len(block))
    except InputError:
        part.discard()  # whatever it is, it is not what was asked for
        raise
    with _on_disk(part.path), part.path.open("ab") as opened:
        opened.write(block)


def _refuse_larger(url: str, archive: Archive, size: int) -> None:
    if size > archive.max_bytes:
        raise InputError(
            url, f"is larger than {archive.max_bytes} bytes", "check the address or name another --mirror"
        )


def _refuse_other(
    url: str, archive: Archive, source: Source, headers: http.client.HTTPMessage, head: bytes
) -> None:
    """Raise InputError where the file does not begin as its kind does."""
    kind = _kind(archive.file)
    at, magic = _START[kind]
    if head[at : at + len(magic)] == magic:
        return
    page = headers.get_content_type() == "text/html" or head.lstrip()[:1] == b"<"
    raise InputError(
        url,
        f"the server answers with {'a web page' if page else 'something else'} instead of a {kind} file",
        _by_hand(archive, source),
    )


def _kind(file: str) -> str:
    return next(kind for kind in _START if file.endswith(kind))


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Tell a disk that fails from a server or an archive that does."""
    try:
        yield
    except gzip.BadGzipFile:  # an OSError by name alone
        raise
    except OSError as error:
        raise WorkError(
            f"{path}: could not be written ({error.strerror or error}); "
            "free space and give the same command again to go on"
        ) from error


# Unpacking


class _UnsafeError(Exception):
    """An archive that holds what no data set needs."""


_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,  # a number in a header that is none, a name that is no text
    IndexError,  # a name that is empty
    NotImplementedError,  # zipfile: a feature of the format that it does not know
)


@dataclass(frozen=True)
class _Member:
    """A regular file in an archive, or a folder where `content` is None."""

    name: str
    size: int  # as the archive says; the readers of both formats hand out no more
    content: IO[bytes] | None


def _unpack_into(root: Path, archive: Archive, url: str, file: Path) -> dict[str, int]:
    """Unpack beside the data, then move into place; returns the bytes of each file."""
    temporary = root / f".{archive.file}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        with _on_disk(temporary):
            temporary.mkdir()
        unpacked = _unpack(archive, file, temporary)
        _refuse_in_the_way(temporary, root, _fetched_before(root))
        _merge(temporary, root)
    except InputError:
        raise
    except _UnsafeError as error:
        raise _WrongFileError(url, f"is not unpacked: {error}", "take it from its publisher") from error
    except _DAMAGED as error:
        raise _WrongFileError(url, f"is damaged ({_reason(error)})", "fetch it again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return unpacked


def _unpack(archive: Archive, file: Path, into: Path) -> dict[str, int]:
    room = min(archive.max_bytes, MAX_FACTOR * file.stat().st_size)
    kind = _kind(archive.file)
    read = {".mat": _plain_file, ".zip": _zip_members}.get(kind, _tar_members)
    unpacked: dict[str, int] = {}
    with closing(read(file, archive.file)) as members:
        for number, member in enumerate(members, start=1):
            if number > MAX_FILES:
                raise _UnsafeError(f"it holds more than {MAX_FILES} files")
            path = _inside(member.name)
            if member.size > room:
                raise _UnsafeError("it unpacks to more than it may (MAX_FACTOR, max_bytes in the catalog)")
            with _on_disk(into / path):
                try:
                    _write(member, into / path)
                except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                    raise _UnsafeError(f"{member.name!r} is both a file and a folder in it") from error
                except OSError as error:
                    if error.errno == errno.ENAMETOOLONG:
                        raise _UnsafeError(f"{member.name[:40]!r}... is too long a name") from error
                    raise
            if member.content is not None:
                unpacked[str(path)] = member.size
                room -= member.size
    if not unpacked:
        raise _UnsafeError("it holds no file")
    return unpacked


def _write(member: _Member, goal: Path) -> None:
    if member.content is None:
        goal.mkdir(parents=True, exist_ok=True)
        return
    goal.parent.mkdir(parents=True, exist_ok=True)
    with goal.open("wb") as opened:
        shutil.copyfileobj(member.content, opened, _BLOCK)
        if opened.tell() != member.size:
            raise EOFError(f"{member.name!r} has {opened.tell()} bytes, and not {member.size}")


def _inside(name: str) -> PurePosixPath:
    """The path of a member below the root, or _UnsafeError."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or re.match("[A-Za-z]:", name) or ".." in path.parts or "\0" in name:
        raise _UnsafeError(f"{name!r} lies outside the folder")
    if path.parts and (
        path.parts[0] in _KEPT or path.parts[0].endswith((".part", ".part.json", ".unpacking"))
    ):
        raise _UnsafeError(f"{name!r} is a name that fetching itself uses")
    return path


def _plain_file(file: Path, name: str) -> Generator[_Member]:
    with file.open("rb") as opened:
        yield _Member(name, file.stat().st_size, opened)


def _zip_members(file: Path, name: str) -> Generator[_Member]:
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _UnsafeError(f"{info.filename!r} is a link or a device")
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _UnsafeError(f"{info.filename!r} is encrypted or compressed in a rare way")
            if info.is_dir():
                yield _Member(info.filename, 0, None)
                continue
            with opened.open(info) as member:
                yield _Member(info.filename, info.file_size, member)


class _Capped(io.BufferedReader):
    """A file that hands out little at once: the header of a tar member can ask for any amount."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= 4 * _BLOCK:
            raise _UnsafeError("a header in it has no reasonable length")
        return super().read(size)


def _tar_members(file: Path, name: str) -> Generator[_Member]:
    with file.open("rb", buffering=0) as stored:
        raw: Any = stored if name.endswith(".tar") else gzip.GzipFile(fileobj=stored)
        with _Capped(raw) as capped, tarfile.open(fileobj=capped, mode="r:") as opened:
            for info in opened:
                if info.isdir():
                    yield _Member(info.name, 0, None)
                    continue
                member = opened.extractfile(info) if info.isfile() else None
                if member is None:
                    raise _UnsafeError(f"{info.name!r} is a link or a device")
                yield _Member(info.name, info.size, member)
            # tarfile takes a damaged header for the end; after the true one come zeros, and few
            if capped.read(4 * _BLOCK).strip(b"\0") or capped.read(1):
                raise tarfile.ReadError("a header in it is damaged")


def _fetched_before(root: Path) -> set[Path]:
    """The files under the root that came out of an archive, which another may replace."""
    return {root / file for path in (root / ".fetched").glob("*.json") for file in _listed(path)}


def _refuse_in_the_way(source: Path, target: Path, fetched: set[Path]) -> None:
    """Raise InputError where `target` has something else of a name in `source` that was not fetched."""
    for entry in sorted(source.iterdir()):
        goal = target / entry.name
        if entry.is_dir() and goal.is_dir():
            _refuse_in_the_way(entry, goal, fetched)
            continue
        if not goal.exists() and not goal.is_symlink():
            continue
        coming = "folder" if entry.is_dir() else "file"
        if entry.is_dir() == goal.is_dir():
            if goal in fetched or (goal.is_file() and filecmp.cmp(entry, goal, shallow=False)):
                continue
            coming = "different file"
        raise InputError(
            goal,
            f"is in the way of a {coming} of that name",
            "move it away and give the same command again to go on",
        )


def _merge(source: Path, target: Path) -> None:
    """Move what is below `source` below `target`, folder into folder; each file is replaced in one step."""
    for entry in sorted(source.iterdir()):
        goal = target / entry.name
        if entry.is_dir() and goal.is_dir():
            _merge(entry, goal)
        else:
            with _on_disk(goal):
                entry.replace(goal)
