"""The list of datasets that can be fetched, read from TOML and checked before it is used."""

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import DataError

_DIGEST = {"md5": r"[0-9a-f]{32}", "sha256": r"[0-9a-f]{64}", "sha256_prefix": r"[0-9a-f]{8,63}"}
_TEXT_KEYS = ("name", "checksum_note", "folder", "unpack", *_DIGEST)
_SIZE_KEYS = ("size", "unpacked")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dataset.

    Attributes:
        name: File name, the same at every source.
        urls: Official addresses, tried in order.
        algorithm: ``md5``, ``sha256`` or empty when no checksum is known.
        digest: Lower-case hex digits that the checksum begins with; all of them unless only a prefix is published.
        checksum_note: Who vouches for the checksum.
        size: Bytes, or None when not known.
        folder: Where the file lies, relative to the data folder.
        unpack: Where the archive's contents go, relative to the data folder; None for a file that is used as it is.
        unpacked: Upper limit for the size of the contents in bytes, or None when not known.
    """

    name: str
    urls: tuple[str, ...] = ()
    algorithm: str = ""
    digest: str = ""
    checksum_note: str = ""
    size: int | None = None
    folder: str = ""
    unpack: str | None = None
    unpacked: int | None = None

    @property
    def identity(self) -> str:
        """The checksum as ``algorithm:digits``, else the size, else ``unchecked``."""
        if self.digest:
            return f"{self.algorithm}:{self.digest}"
        return "unchecked" if self.size is None else f"size:{self.size}"


@dataclass(frozen=True)
class Dataset:
    """A name that can be asked for, and the files that it stands for."""

    name: str
    title: str
    files: tuple[RemoteFile, ...]


def load_manifest(extra: Path | None = None) -> dict[str, Dataset]:
    """Return the known datasets by name.

    Args:
        extra: A further manifest whose entries come on top of, and replace, those that ship with the kit.

    Raises:
        DataError: If ``extra`` cannot be read or does not have the form described in ``manifest.toml``.
    """
    shipped = files("dlcvkit.data").joinpath("manifest.toml").read_text(encoding="utf-8")
    datasets = parse_manifest(shipped, "manifest.toml")
    if extra is not None:
        try:
            text = extra.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise DataError(f"manifest {extra} cannot be read: {reason}") from error
        datasets |= parse_manifest(text, str(extra))
    return datasets


def parse_manifest(text: str, source: str) -> dict[str, Dataset]:
    """Return the datasets that a manifest's text declares.

    Args:
        text: TOML.
        source: Name of the manifest, for messages.

    Raises:
        DataError: If the text is not TOML, a key is missing, unknown or of the wrong kind, or a path leads elsewhere.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"manifest {source} is not TOML: {error}") from error
    datasets = {}
    for name, table in tables.items():
        entries = table.get("file") if isinstance(table, dict) else None
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"manifest {source}: {name} needs at least one [[{name}.file]] table")
        title = table.get("title", name)
        if not isinstance(title, str):
            raise DataError(f"manifest {source}: {name}: title must be a text")
        datasets[name] = Dataset(
            name, title, tuple(_parse_file(entry, f"manifest {source}: {name}") for entry in entries)
        )
    return datasets


def _parse_file(entry: dict[str, Any], where: str) -> RemoteFile:
    for key, value in entry.items():
        if key == "urls":
            right = isinstance(value, list) and all(isinstance(url, str) and "://" in url for url in value)
            kind = "a list of addresses"
        elif key in _SIZE_KEYS:
            right, kind = type(value) is int and value >= 0, "a number of bytes"
        elif key in _TEXT_KEYS:
            right, kind = isinstance(value, str), "a text"
        else:
            raise DataError(f"{where}: unknown key {key!r}")
        if not right:
            raise DataError(f"{where}: {key} must be {kind}, not {value!r}")
    name = entry.get("name", "")
    if not name or name in {".", ".."} or re.search(r"[/\\:\0]", name):
        raise DataError(f"{where}: name must be a plain file name, not {name!r}")
    for key in ("folder", "unpack"):
        path = PurePosixPath(entry.get(key, ""))
        if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\0]", str(path)):
            raise DataError(f"{where}: {key} must stay inside the data folder, not {entry[key]!r}")
    given = [key for key in _DIGEST if key in entry]
    if len(given) > 1:
        raise DataError(f"{where}: {name} has {' and '.join(given)}; give one checksum")
    digest = entry[given[0]].lower() if given else ""
    if given and not re.fullmatch(_DIGEST[given[0]], digest):
        raise DataError(f"{where}: {given[0]} of {name} is not a checksum: {digest!r}")
    return RemoteFile(
        name=name,
        urls=tuple(entry.get("urls", ())),
        algorithm=given[0].removesuffix("_prefix") if given else "",
        digest=digest,
        checksum_note=entry.get("checksum_note", ""),
        size=entry.get("size"),
        folder=entry.get("folder", ""),
        unpack=entry.get("unpack"),
        unpacked=entry.get("unpacked"),
    )
