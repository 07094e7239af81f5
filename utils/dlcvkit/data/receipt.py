"""A note of what an archive unpacked to, in the format of ``sha256sum``, so that the contents can be verified later."""

import re
from pathlib import Path, PurePosixPath

from .transfer import checksum

SUFFIX = ".contents"


def receipt_path(archive: Path) -> Path:
    """Return where the receipt of ``archive`` lies: beside it."""
    return archive.with_name(archive.name + SUFFIX)


def write_receipt(archive: Path, identity: str, folder: Path, members: list[Path]) -> None:
    """Record the checksum of each unpacked file.

    Args:
        archive: The archive that was unpacked.
        identity: What the manifest said about the archive, so that another archive of the same name is told apart.
        folder: The folder that it was unpacked to.
        members: The files, relative to ``folder``.
    """
    lines = [f"# {identity}", *(f"{checksum(folder / member, 'sha256')}  {member.as_posix()}" for member in members)]
    receipt = receipt_path(archive)
    scratch = receipt.with_name(receipt.name + ".new")
    try:
        scratch.write_text("\n".join(lines) + "\n", encoding="utf-8")
        scratch.replace(receipt)
    finally:
        scratch.unlink(missing_ok=True)


def read_receipt(archive: Path, identity: str) -> dict[PurePosixPath, str] | None:
    """Return the recorded sha256 by file, or None if there is no receipt for this archive and identity."""
    try:
        header, *lines = receipt_path(archive).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    matches = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
    if header != f"# {identity}" or not matches:
        return None
    return {PurePosixPath(match[2]): match[1] for match in matches if match}
