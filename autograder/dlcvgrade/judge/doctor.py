"""``dlcvgrade doctor``: whether this machine can grade safely, and what is missing if not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from dlcvgrade.course import FILE, Course, read_course

Root = Annotated[
    Path | None,
    typer.Option("--course", help="The course's folder, with course.toml.", show_default="here, if there is one"),
]

MIN_FREE_BYTES = 2**30
NBGRADER = (0, 9, 6)


@dataclass(frozen=True)
class Sign:
    """One thing that was looked at: its name, what was found, and whether grading can be done safely with it."""

    name: str
    found: str
    is_well: bool = True


def examine(course: Course | None) -> list[Sign]:
    """Return what was found, in the order in which it matters; of the machine alone if there is no course yet."""
    specs = _specs(course) if course else Sign("course", "none here; --course names one")
    folders = [course.root if course else Path.cwd(), Path(tempfile.gettempdir())]
    return [_sandbox(), specs, _torch(), _nbgrader(), *_disk(folders)]


def _sandbox() -> Sign:
    from dlcvgrade.judge.sandbox import isolation

    found = isolation()
    is_well = found.level == "bubblewrap" and found.filters_system_calls
    detail = found.why or "no network, a read-only system, and a filter on system calls"
    return Sign("sandbox", f"{found.level}: {detail}", is_well)


def _specs(course: Course) -> Sign:
    count = len(list(course.specs.glob("*/**/*.py")))
    if not count:
        return Sign("specs", f"{course.specs} holds no hidden cases; expected aN/topic.py", False)
    return Sign("specs", f"{course.specs}, {count} files")


def _torch() -> Sign:
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device; grading is on the CPU"
    return Sign("torch", f"{torch.__version__}, {device}")


def _nbgrader() -> Sign:
    wanted = ".".join(map(str, NBGRADER))
    try:
        found = version("nbgrader")
    except PackageNotFoundError:
        return Sign("nbgrader", f"is not installed; expected {wanted} or later", False)
    numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdigit())
    if numbers < NBGRADER:
        return Sign("nbgrader", f"{found}; expected {wanted} or later", False)
    return Sign("nbgrader", found)


def _disk(folders: Sequence[Path]) -> list[Sign]:
    signs = []
    for folder in folders:
        free = shutil.disk_usage(folder).free
        told = f"{free / 2**30:.1f} GiB free in {folder}"
        is_well = free >= MIN_FREE_BYTES
        signs.append(Sign("disk", told if is_well else f"{told}; expected at least 1", is_well))
    return signs


def doctor_command(root: Root = None) -> None:
    """Say whether grading can be done safely here. Exit code 0: yes; 2: no."""
    if root is None and Path(FILE).exists():
        root = Path(".")
    signs = examine(None if root is None else read_course(root))
    for sign in signs:
        typer.echo(f"{'ok  ' if sign.is_well else 'FAIL'}  {sign.name:<9} {sign.found}")
    if not all(sign.is_well for sign in signs):
        raise typer.Exit(2)
