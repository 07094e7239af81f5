"""What ``dlcvkit progress`` and ``dlcvkit hint`` remember: one small JSON file of this computer's user.

It lies in the platform's folder for state, or in the one that ``DLCVKIT_STATE`` names, and not beside the notebooks:
each stage is a folder of its own, and progress spans them. Losing the file loses no work. Two programs that write
within the same millisecond may lose one of the two checks.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcvkit.checking.findings import Report

VERSION = 1
VARIABLE = "DLCVKIT_STATE"


@dataclass(frozen=True)
class LastCheck:
    """The last check of an exercise.

    Attributes:
        earned: Points on the public cases.
        possible: Points that it was worth then.
        verdict: ``pass``, or what was wrong first.
        when: UTC, such as ``2027-02-05T23:59:00Z``.
        by: ``notebook`` or ``command``.
    """

    earned: float
    possible: float
    verdict: str
    when: str
    by: str


@dataclass
class Memory:
    """What is remembered: exercise id to its last check, and to the number of hints that were given."""

    checks: dict[str, LastCheck] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)


class NewerMemory(Exception):
    """The file was written by a newer kit, which must not lose what it knows."""


def memory_file() -> Path:
    """Return where the file lies; it need not exist."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute() / "progress.json"
    import platformdirs

    return platformdirs.user_state_path("dlcvkit", appauthor=False) / "progress.json"


def recall() -> Memory:
    """Return what is remembered; whatever of the file is missing or damaged counts as never seen.

    Raises:
        NewerMemory: If the file is of a later version.
    """
    try:
        stored = json.loads(memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, RuntimeError):  # RuntimeError: no home folder
        return Memory()
    if not isinstance(stored, dict):
        return Memory()
    version = stored.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NewerMemory(f"{memory_file()} was written by a newer dlcvkit (version {version}); expected {VERSION}")
    checks = {name: check for name, entry in _entries(stored, "checks") if (check := _check(entry)) is not None}
    hints = {name: n for name, n in _entries(stored, "hints") if type(n) is int and n > 0}
    return Memory(checks, hints)


def _entries(stored: dict[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    entries = stored.get(key)
    return entries.items() if isinstance(entries, dict) else ()


def _check(entry: Any) -> LastCheck | None:
    if not isinstance(entry, dict):
        return None
    earned, possible = _points(entry.get("earned")), _points(entry.get("possible"))
    texts = [entry.get(key) for key in ("verdict", "when", "by")]
    if earned is None or possible is None or earned > possible or not all(isinstance(text, str) for text in texts):
        return None
    return LastCheck(earned, possible, *map(str, texts))


def _points(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e6 else None  # neither NaN nor infinity is


def store(memory: Memory) -> None:
    """Write what is remembered, in one step.

    Raises:
        OSError: If it cannot be written there.
    """
    path = memory_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    checks = {name: asdict(check) for name, check in memory.checks.items()}
    text = json.dumps({"version": VERSION, "checks": checks, "hints": memory.hints}, indent=1)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".progress-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(scratch, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(scratch)
        raise


def remember(reports: Iterable[Report], by: str) -> bool:
    """Note the results of checks, and return whether that could be done. Nothing is raised: a check goes before it.

    Args:
        reports: Public reports; one that could not be checked says nothing and is left out.
        by: ``notebook`` or ``command``.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    new = {
        report.exercise: LastCheck(report.earned, report.possible, report.verdict, now, by)
        for report in reports
        if report.verdict != "could_not_check" and not report.is_hidden
    }
    try:
        memory = recall()
        memory.checks |= new
        store(memory)
    except (OSError, NewerMemory, RuntimeError):
        return False
    return True
