"""Folders for workers that do not outlive a grader which was killed: the next one removes what it left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

PREFIX = "dlcvgrade-"
_LOCK = "in-use"


class ScratchFolder:
    """A new folder in the system's place for temporary files, gone when it is left.

    As long as its process lives it holds a lock; a folder whose lock nobody holds is left over from a grader that was
    killed, and is removed.

    Attributes:
        path: The folder.
    """

    def __init__(self) -> None:
        remove_left_over()
        while (lock := self._lock_new_folder()) is None:
            continue
        self._lock = lock

    def _lock_new_folder(self) -> int | None:
        """Make a folder; return its lock, or None if another grader took it for left over before it was locked."""
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        except FileNotFoundError:
            return None
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)
        return None

    def remove(self) -> None:
        """Remove it; a second time does nothing."""
        _remove(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def remove_left_over() -> None:
    """Remove this user's folders whose process is gone.

    A folder without a lock goes only if it is empty: its grader was killed while making or removing it, or it is not
    a grader's at all.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # gone, somebody else's, in use, or not empty
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            try:
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:
                folder.rmdir()
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: killed in the middle, this leaves one that is locked or empty."""
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.name == _LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
    shutil.rmtree(folder, ignore_errors=True)
