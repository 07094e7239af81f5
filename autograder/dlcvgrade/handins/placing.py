"""Write hand-ins into ``submitted``: each as a whole or not at all, and nothing that is there is lost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dlcvgrade.handins.choosing import Chosen, digest
from dlcvgrade.handins.systems import Note
from dlcvgrade.judge.intake import TIME
from dlcvgrade.results.writing import file_name


def time_text(when: datetime) -> str:
    """Return a time as nbgrader reads it."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def aside_folder(out: Path) -> Path:
    """Return where hand-ins are kept that newer ones took the place of: beside ``submitted``, as nobody grades them."""
    return out.with_name(f"{out.name}-aside")


@dataclass(frozen=True)
class Placed:
    """Whether a hand-in was written, or would be, and what there is to tell."""

    is_written: bool
    notes: tuple[Note, ...] = ()


class Shelf:
    """The folder that hand-ins go to.

    Args:
        out: ``submitted``.
        stage: Name of the stage.
        is_replacing: Whether a hand-in takes the place of one that is there.
        is_trial: Whether to write nothing.
    """

    def __init__(self, out: Path, stage: str, *, is_replacing: bool, is_trial: bool) -> None:
        self._out, self._stage = out, stage
        self._is_replacing, self._is_trial = is_replacing, is_trial

    def put(self, student: str, chosen: Chosen, when: datetime | None, staging: Path) -> Placed:
        """Write a hand-in.

        Args:
            student: The student's id.
            chosen: The files.
            when: When it was handed in, if known.
            staging: A folder on the same file system.
        """
        if not chosen.files:
            return _left(f"nothing of {self._stage} was found; no folder is made")
        home = self._out / student
        place = home / self._stage
        shown = f"{self._out.name}/{student}/{self._stage}"
        if home.is_symlink() or place.is_symlink() or any(p.exists() and not p.is_dir() for p in (home, place)):
            return _left(f"{shown} is no folder; nothing is written")
        stamp = time_text(when) if when else None
        notes: tuple[Note, ...] = ()
        if place.exists():
            if _is_same(place, chosen.files, stamp):
                self._put_aside(student, chosen.aside)
                return Placed(False, (Note("is there already, unchanged", is_fine=True),))
            if not self._is_replacing:
                return _left(f"{shown} is there already and differs; --replace puts this one in its place")
            notes = (Note(f"took the place of what was there, now in {aside_folder(self._out).name}", is_fine=True),)
        if self._is_trial:
            return Placed(True, notes)
        fresh = staging / student
        fresh.mkdir()
        for name, path in chosen.files.items():
            shutil.copyfile(path, fresh / name)
        if stamp:
            (fresh / TIME).write_text(stamp + "\n", encoding="utf-8")
        self._put_aside(student, chosen.aside)
        home.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(self._free(student, "replaced"))
        fresh.rename(place)
        return Placed(True, notes)

    def _free(self, student: str, name: str) -> Path:
        folder = aside_folder(self._out) / self._stage / student
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while (folder / f"{name}-{number}").exists():
            number += 1
        return folder / f"{name}-{number}"

    def _put_aside(self, student: str, files: Sequence[tuple[str, Path]]) -> None:
        folder = aside_folder(self._out) / self._stage / student
        for name, path in files if not self._is_trial else ():
            folder.mkdir(parents=True, exist_ok=True)
            kind = Path(name).suffix
            # By contents, so that importing the same download again makes no second copy.
            target = folder / f"{file_name(Path(name).stem, f'{name}{digest(path)}')}{kind}"
            partial = target.with_name(f".{target.name}.partial")
            shutil.copyfile(path, partial)
            partial.replace(target)


def _left(why: str) -> Placed:
    return Placed(False, (Note(why),))


def _is_same(place: Path, files: Mapping[str, Path], stamp: str | None) -> bool:
    there = {path.name: path for path in place.iterdir()}
    told = there.pop(TIME, None)
    if stamp and (told is None or told.read_text(encoding="utf-8").strip() != stamp):
        return False
    if there.keys() != files.keys() or not all(path.is_file() for path in there.values()):
        return False
    return all(digest(there[name]) == digest(files[name]) for name in files)
