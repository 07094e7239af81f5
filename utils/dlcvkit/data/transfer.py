"""Bring one file to this machine: resumed where it broke off, checked, and put in place only when whole."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests
from tqdm import tqdm

from .errors import DataError
from .manifest import RemoteFile

CHUNK = 1 << 18
ATTEMPTS = 4
TIMEOUT = (10.0, 60.0)
_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class BrokenTransferError(Exception):
    """The connection failed in a way that may pass; what has arrived can be continued."""


def checksum(path: Path, algorithm: str) -> str:
    """Return the file's checksum in lower-case hex digits; ``algorithm`` is ``md5`` or ``sha256``."""
    return str(pooch.file_hash(str(path), alg=algorithm))


def describe_mismatch(path: Path, file: RemoteFile) -> str:
    """Return why ``path`` is not the file that the manifest describes, or an empty text if it is."""
    size = path.stat().st_size
    if file.digest:
        got = checksum(path, file.algorithm)
        if not got.startswith(file.digest):
            sizes = "" if file.size in (None, size) else f" ({size} bytes, expected {file.size})"
            return f"its {file.algorithm} is {got}, expected {file.digest}{sizes}"
    elif file.size is not None and size != file.size:
        return f"it has {size} bytes, expected {file.size}"
    return ""


def fetch_file(file: RemoteFile, target: Path, urls: tuple[str, ...], *, pause: float = 1.0) -> None:
    """Fetch ``file`` to ``target`` from the first of ``urls`` that delivers it.

    Args:
        file: What to expect.
        target: Where the file goes. What arrives is collected in ``target`` + ``.part``, which is kept when a
            connection breaks, so that the next run goes on from there, and removed in every other case.
        urls: ``http(s)://`` and ``file://`` addresses, in the order of preference.
        pause: Seconds before the first retry; doubled each time.

    Raises:
        DataError: If no address delivers the expected file. ``target`` is then what it was before.
    """
    pooch.get_logger().setLevel("ERROR")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        # pooch leaves an existing file alone when it is given no checksum of its own.
        target.replace(target.with_name(target.name + ".old"))
    old = target.with_name(target.name + ".old")
    reasons = []
    try:
        for url in urls:
            try:
                pooch.retrieve(
                    url, None, fname=target.name, path=target.parent, downloader=_Downloader(file, target, pause)
                )
                old.unlink(missing_ok=True)
                return
            except DataError as error:
                reasons.append(str(error))
            except OSError as error:
                if error.errno in _DISK_FULL:
                    raise DataError(f"the disk is full: {file.name} does not fit in {target.parent}") from error
                raise
    finally:
        if old.exists():
            old.replace(target)
    raise DataError("; ".join(reasons) or f"{file.name} has no address in the manifest; use --mirror")


class _Downloader:
    """The way a file travels, in the form that pooch calls."""

    def __init__(self, file: RemoteFile, target: Path, pause: float) -> None:
        self.file = file
        self.part = target.with_name(target.name + ".part")
        self.pause = pause

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        if not self.file.digest and self.file.size is None:
            # Nothing could tell whether two halves belong together.
            self.part.unlink(missing_ok=True)
        resumed = self.part.exists() and self.part.stat().st_size > 0
        self._collect(url)
        problem = describe_mismatch(self.part, self.file)
        if problem and resumed:
            # The first half may have come from another source or an older version of the file.
            self.part.unlink()
            self._collect(url)
            problem = describe_mismatch(self.part, self.file)
        if problem:
            size = self.part.stat().st_size
            self.part.unlink()
            if self.file.size is not None and size < self.file.size:
                raise DataError(f"{url} is truncated or another file: {problem}; the copy is removed")
            raise DataError(f"{url} is not the expected file: {problem}; the copy is removed")
        os.replace(self.part, output_file)

    def _collect(self, url: str) -> None:
        """Append to the part file until the source has nothing more."""
        is_local = urlsplit(url).scheme == "file"
        for attempt in range(ATTEMPTS):
            try:
                with _open_local(url, self.part) if is_local else _open_http(url, self.part) as (chunks, start, total):
                    self._write(chunks, start, total)
                return
            except BrokenTransferError as error:
                if attempt == ATTEMPTS - 1:
                    kept = self.part.stat().st_size if self.part.exists() else 0
                    more = f"; {kept} bytes are kept, run again to go on from there" if kept else ""
                    raise DataError(f"{url} cannot be fetched: {error}{more}") from error
                time.sleep(self.pause * 2**attempt)
            except OSError as error:
                self.part.unlink(missing_ok=True)
                if error.errno in _DISK_FULL:
                    raise
                raise DataError(f"{url} cannot be saved to {self.part.parent}: {error.strerror or error}") from error

    def _write(self, chunks: Iterator[bytes], start: int, total: int | None) -> None:
        # disable=None: no bar where stderr is a file or a pipe.
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=self.file.name, disable=None)
        with bar, open_part(self.part, start) as out:
            for chunk in chunks:
                out.write(chunk)
                bar.update(len(chunk))


def open_part(path: Path, start: int) -> BinaryIO:
    """Open the part file for writing behind its first ``start`` bytes."""
    return path.open("ab" if start else "wb")


@contextlib.contextmanager
def _open_local(url: str, part: Path) -> Iterator[tuple[Iterator[bytes], int, int | None]]:
    path = local_path(url)
    try:
        source = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    with source:
        part.unlink(missing_ok=True)
        yield iter(lambda: source.read(CHUNK), b""), 0, path.stat().st_size


@contextlib.contextmanager
def _open_http(url: str, part: Path) -> Iterator[tuple[Iterator[bytes], int, int | None]]:
    start = part.stat().st_size if part.exists() else 0
    # Without identity a server may compress the body, and then offsets mean something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:
                # The part is as long as the file, or longer: the checksum decides.
                yield iter(()), start, start
                return
            if response.status_code >= 500 or response.status_code == 429:
                raise BrokenTransferError(f"the server answers {response.status_code} {response.reason}")
            if response.status_code not in (200, 206):
                raise DataError(f"{url} cannot be fetched: the server answers {response.status_code} {response.reason}")
            if response.status_code == 200 or not response.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            ):
                if response.status_code == 206:
                    part.unlink(missing_ok=True)
                    raise BrokenTransferError("the server sent another range than the one asked for")
                start = 0
            length = response.headers.get("Content-Length", "")
            yield response.iter_content(CHUNK), start, start + int(length) if length.isdigit() else None
    except requests.exceptions.RequestException as error:
        raise _explain(error, url) from error


def _explain(error: requests.exceptions.RequestException, url: str) -> Exception:
    host = urlsplit(url).netloc
    if isinstance(error, requests.exceptions.SSLError):
        return DataError(f"{url} cannot be fetched: the certificate of {host} is not accepted")
    if isinstance(error, requests.exceptions.Timeout):
        return BrokenTransferError(f"{host} does not answer in time")
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return BrokenTransferError("the connection broke off, the file is truncated")
    if isinstance(error, requests.exceptions.ConnectionError):
        return BrokenTransferError(f"no connection to {host}; is there a network?")
    return DataError(f"{url} cannot be fetched: {str(error).splitlines()[0]}")


def local_path(url: str) -> Path:
    """Return the path that a ``file://`` address names."""
    return Path(url2pathname(urlsplit(url).path))
