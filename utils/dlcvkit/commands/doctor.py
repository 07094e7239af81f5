"""``dlcvkit doctor``: what of the installation works, what does not, and what to do about it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from dlcvkit import __version__
from dlcvkit.commands.terminal import say, say_json

PYTHON = (3, 11)
LOW_BYTES, TOO_FEW_BYTES = 2 * 2**30, 200 * 2**20
_MARKERS = ("course.toml", "MANIFEST.sha256")
_SET_UP = 'pip install --constraint constraints.txt "./kit[lab]"'
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")


@dataclass(frozen=True)
class Sign:
    """One thing that was looked at.

    Attributes:
        name: What.
        status: ``ok``, ``warn`` or ``fail``.
        found: What was found.
        advice: What to do about it; empty if nothing.
    """

    name: str
    status: str
    found: str
    advice: str = ""


def examine(folder: Path) -> list[Sign]:
    """Return what was found, in the order in which it matters.

    Args:
        folder: Where the student works.
    """
    signs = [_python(), _torch(), _jupyter(), _versions(folder)]
    if signs[1].status == "fail":  # the data package cannot be imported without torch
        return [*signs, *_disk([folder])]
    from dlcvkit.data import data_home

    home = data_home()
    return [*signs, *_data(home), *_disk([folder, home])]


def _python() -> Sign:
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, PYTHON))
    if sys.version_info[:2] < PYTHON:
        return Sign("python", "fail", found, f"install Python {wanted} or newer and make the environment anew with it")
    return Sign("python", "ok", f"{found}, in {sys.prefix}; dlcvkit {__version__}")


def _torch() -> Sign:
    try:
        import torch

        total = float(torch.ones(2, 2).sum())
    except Exception as error:  # a broken installation raises all sorts of things, OSError for its libraries among them
        found = f"cannot be imported: {type(error).__name__}: {error}"
        return Sign("torch", "fail", found, f"install it again: {_SET_UP}")
    if total != 4.0:
        found = f"{torch.__version__} adds four ones up to {total}"
        return Sign("torch", "fail", found, f"install it again: {_SET_UP}")
    return Sign("torch", "ok", f"{torch.__version__}, {_device()}")


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"GPU {torch.cuda.get_device_name(0)}; checks run on the CPU and on it"
    if torch.backends.mps.is_available():
        return "Apple GPU, which checks do not use; they run on the CPU"
    return "CPU; no notebook needs more"


def _jupyter() -> Sign:
    if all(importlib.util.find_spec(name) for name in ("jupyterlab", "ipykernel")):
        return Sign("jupyter", "ok", f"jupyterlab {version('jupyterlab')}")
    advice = f"{_SET_UP}; not needed where an editor brings its own"
    return Sign("jupyter", "warn", "jupyterlab or ipykernel is not installed here", advice)


def find_constraints(folder: Path) -> Path | None:
    """Return the constraints.txt of the course that ``folder`` belongs to; None if there is none."""
    here = folder.absolute()
    for parent in (here, *here.parents):
        path = parent / "constraints.txt"
        if path.is_file() and any((parent / marker).is_file() for marker in _MARKERS):
            return path
    return None


def _versions(folder: Path) -> Sign:
    path = find_constraints(folder)
    if path is None:
        return Sign("versions", "ok", "no constraints.txt in this folder to compare with; run this in the course's")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return Sign("versions", "warn", f"{path} cannot be read: {error}", "take it from the release again")
    pins = [match.groups() for line in lines if (match := _PIN.match(line))]
    compared, different = 0, []
    for name, wanted in pins:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue  # most of them are for the course's makers
        compared += 1
        if found.partition("+")[0] != wanted.partition("+")[0]:  # 2.15.0+cpu is a build of 2.15.0
            different.append(f"{name} {found} (tried with {wanted})")
    if different:
        shown = ", ".join(different[:4]) + (f" and {len(different) - 4} more" if len(different) > 4 else "")
        return Sign("versions", "warn", shown, f"if something fails, in {path.parent}: {_SET_UP}")
    if not compared:
        return Sign("versions", "warn", f"{path} pins nothing that is installed", "take it from the release again")
    return Sign("versions", "ok", f"{compared} packages as in {path}")


def _data(home: Path) -> Iterator[Sign]:
    from dlcvkit.data.manifest import load_manifest
    from dlcvkit.data.store import State, inspect_dataset

    present, absent = [], []
    for dataset in load_manifest().values():
        try:
            findings = inspect_dataset(dataset, home, thorough=False)
        except OSError as error:
            yield Sign("data", "warn", f"{dataset.name} cannot be looked at: {error}", f"look at the rights of {home}")
            continue
        damaged = [finding.reason for finding in findings if finding.state is State.DAMAGED]
        if damaged:
            yield Sign("data", "warn", f"{dataset.name}: {damaged[0]}", f"dlcvkit data {dataset.name} mends it")
        elif all(finding.state is State.HERE for finding in findings):
            present.append(dataset.name)
        else:
            absent.append(dataset.name)
    text = f"{', '.join(present)} in {home}" if present else "drawn shapes and digits, which need no download"
    more = f"dlcvkit data {absent[0]} fetches more; nothing needs it" if absent else ""
    yield Sign("data", "ok", text, more)


def _disk(places: Sequence[Path]) -> Iterator[Sign]:
    seen = set()
    for place in places:
        there = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
        if there.stat().st_dev in seen:
            continue
        seen.add(there.stat().st_dev)
        free = shutil.disk_usage(there).free
        found = f"{free / 2**30:.1f} GiB free in {there}"
        if free < TOO_FEW_BYTES:
            yield Sign("disk", "fail", found, "make room: notebooks can no longer be saved for sure")
        elif free < LOW_BYTES:
            yield Sign("disk", "warn", found, "make room before you fetch data")
        else:
            yield Sign("disk", "ok", found)


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say what of the installation works and what to do about the rest.

    Exit code 0: nothing fails; 1: something does.
    """
    signs = examine(Path.cwd())
    is_well = all(sign.status != "fail" for sign in signs)
    if as_json:
        say_json({"ok": is_well, "signs": [asdict(sign) for sign in signs]})
    else:
        for sign in signs:
            say(f"{sign.status:<5} {sign.name:<9} {sign.found}" + (f"\n{'':16}{sign.advice}" if sign.advice else ""))
    if not is_well:
        raise typer.Exit(1)
