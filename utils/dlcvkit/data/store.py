"""Put datasets in the data folder, and say what is there."""

import contextlib
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .errors import DataError
from .manifest import Dataset, RemoteFile
from .receipt import read_receipt, write_receipt
from .transfer import checksum, describe_mismatch, fetch_file, local_path
from .unpack import UnsafeArchiveError, unpack_archive


class State(Enum):
    """What the data folder holds of a file."""

    HERE = "here"
    MISSING = "not here"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Finding:
    """What was found about one file: its state and, for a damaged one, the reason."""

    file: RemoteFile
    state: State
    reason: str = ""


def mirror_base(mirror: str) -> str:
    """Return the address that file names are appended to.

    Args:
        mirror: An ``http(s)://`` or ``file://`` address, or a path to a folder.

    Raises:
        DataError: If it is a folder that does not exist, or an address of another kind.
    """
    scheme = mirror.split("://")[0].lower() if "://" in mirror else ""
    if scheme in ("http", "https"):
        return mirror.rstrip("/")
    if scheme not in ("", "file"):
        raise DataError(f"mirror {mirror} is not a folder, a file:// or an http(s):// address")
    folder = local_path(mirror) if scheme else Path(mirror).expanduser().absolute()
    if not folder.is_dir():
        raise DataError(f"mirror {mirror} does not exist or is not a folder")
    return folder.as_uri()


def fetch_dataset(dataset: Dataset, home: Path, *, mirror: str | None = None, pause: float = 1.0) -> bool:
    """Fetch and unpack what is missing of a dataset.

    Args:
        dataset: What to fetch.
        home: The data folder; made if need be.
        mirror: Address as from ``mirror_base``; then no other source is used.
        pause: Seconds before the first retry of a broken connection.

    Returns:
        Whether anything had to be done.

    Raises:
        DataError: If a file cannot be had; the files before it are in place, nothing half-written is.
    """
    changed = False
    try:
        for file in dataset.files:
            changed |= _fetch_one(file, home, mirror, pause)
        return changed
    except OSError as error:
        raise DataError(f"{error.filename or home} cannot be written: {error.strerror or error}") from error


def inspect_dataset(dataset: Dataset, home: Path, *, thorough: bool) -> list[Finding]:
    """Return the state of each file of a dataset.

    Args:
        dataset: What to look for.
        home: The data folder.
        thorough: Whether to compute all checksums again; otherwise presence and size decide.
    """
    return [_inspect(file, home, thorough) for file in dataset.files]


def _inspect(file: RemoteFile, home: Path, thorough: bool) -> Finding:
    target = home / file.folder / file.name
    contents = read_receipt(target, file.identity) if file.unpack is not None else None
    if not target.is_file() and contents is None:
        return Finding(file, State.MISSING)
    if target.is_file():
        wrong_size = file.size not in (None, target.stat().st_size)
        reason = describe_mismatch(target, file) if thorough or wrong_size else ""
        if reason:
            return Finding(file, State.DAMAGED, f"{target}: {reason}")
    if file.unpack is None:
        return Finding(file, State.HERE)
    if contents is None:
        return Finding(file, State.DAMAGED, f"{target} is not unpacked")
    for member, digest in contents.items():
        path = home / file.unpack / member
        if not path.is_file():
            return Finding(file, State.DAMAGED, f"{path} is missing; it belongs to {file.name}")
        if thorough and checksum(path, "sha256") != digest:
            return Finding(file, State.DAMAGED, f"{path} has changed since it was unpacked")
    return Finding(file, State.HERE)


def _fetch_one(file: RemoteFile, home: Path, mirror: str | None, pause: float) -> bool:
    target = home / file.folder / file.name
    # Everything is rehashed, so that asking for a damaged dataset once more mends it. An archive that was deleted after
    # unpacking need not come again.
    if _inspect(file, home, thorough=True).state is State.HERE:
        return False
    if not target.is_file() or describe_mismatch(target, file):
        _require_space(file, home, target)
        new_folders = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        try:
            fetch_file(file, target, file.urls if mirror is None else (f"{mirror}/{file.name}",), pause=pause)
        except (DataError, OSError):
            # A failure leaves no trace but a .part that can be continued, and no folder that holds nothing.
            with contextlib.suppress(OSError):
                for folder in new_folders:
                    folder.rmdir()
            raise
    if file.unpack is not None:
        folder = home / file.unpack
        try:
            members = unpack_archive(target, folder, limit=file.unpacked)
        except UnsafeArchiveError as error:
            target.unlink()
            raise DataError(f"{error}; removed") from error
        except OSError as error:
            raise DataError(f"{file.name} cannot be unpacked to {folder}: {error.strerror or error}") from error
        write_receipt(target, file.identity, folder, members)
    return True


def _require_space(file: RemoteFile, home: Path, target: Path) -> None:
    if file.size is None:
        return
    # Before the first file is fetched the folder does not exist, its nearest parent does.
    folder = next(path for path in (home, *home.parents) if path.exists())
    part = target.with_name(target.name + ".part")
    arrived = part.stat().st_size if part.exists() else 0
    unpacked = 0 if file.unpack is None else (file.unpacked or 2 * file.size)
    needed = max(0, file.size - arrived) + unpacked
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"the disk is too full for {file.name}: it needs {needed / 1e6:,.0f} MB in {home}, "
            f"{free / 1e6:,.0f} MB are free"
        )
