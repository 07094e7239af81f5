"""A stage as students get it: a folder and a zip that need nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any

from dlcvgrade.audit import KIT, audit
from dlcvgrade.build import Built, Files, write_files
from dlcvgrade.confidential import secrets_of
from dlcvgrade.course import Course, Stage
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.settings import RELEASE

MANIFEST = "MANIFEST.sha256"
# Kinds of files that belong to the kit; compiled and other left-over files are none of them.
_KIT_KINDS = (".py", ".typed", ".json", ".toml", ".txt", ".md", ".html", ".css", ".svg", ".png", ".safetensors", ".npz")
_LEFT_OVERS = ("__pycache__", ".ipynb_checkpoints")
_TAKEN_ALONG = ("constraints.txt", "data_download.sh", "LICENSE")
_EXECUTABLE = ".sh"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)

_KIT_PROJECT = Template(
    """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "dlcvkit"
version = $version
description = "Checks, data and plots for the notebooks beside this folder"
requires-python = $python
dependencies = [
$dependencies]

[project.optional-dependencies]
lab = [
$lab]

[project.scripts]
dlcvkit = "dlcvkit.cli:main"

[tool.hatch.build.targets.wheel]
packages = ["dlcvkit"]
"""
)

_ENVIRONMENT = Template(
    """\
name: $id
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
      - --constraint constraints.txt
      - ./kit[lab]
"""
)

_README = Template(
    """\
# $course: $title

Stage $stage. Due $due.

Each notebook explains one topic and leaves functions for you to write. Below each of them a cell checks what you
wrote, within a fraction of a second, and says how far off it is and where to look.

$notebooks

## Set up

With Python $python or newer:

    python3 -m venv .venv
    . .venv/bin/activate
    pip install --constraint constraints.txt "./kit[lab]"

or with conda, in this folder:

    conda env create --file environment.yml
    conda activate $id

## Start

    jupyter lab $first.ipynb

Work from top to bottom. Write your code where it says `YOUR CODE HERE` and take away the line below it. Run the cell,
then the check under it. You can add cells and functions of your own; leave the check cells as they are. Everything
works without a download and without a GPU. For the real data sets:

    ./data_download.sh --list

## Check

The last cell of a notebook sums up its checks. Before you hand in, restart the kernel and run all cells: what works
only because of a cell that you have deleted since will not work when it is graded. Grading also tries inputs that
are not in these notebooks: other sizes, other types, edge cases.

In a terminal, in this folder:

    dlcvkit doctor               # is everything installed?
    dlcvkit check                # the checks of the notebooks as you have saved them; --watch repeats them on each save
    dlcvkit progress             # how far you are, and what is next
    dlcvkit hint $stage/EXERCISE      # where to look; one hint more each time

## Hand in

    dlcvkit submit $stage --student YOUR_ID

says what is missing and packs one zip. If your course takes notebooks without a zip, hand them in under the names that
they have here, together with the files that they have you save (`*.safetensors`). Outputs do not matter; answers in
words stand in the cells that ask for them.

## What is in this folder

`kit/` holds the package `dlcvkit` that the notebooks import, `constraints.txt` the versions that it was tried with,
and `MANIFEST.sha256` the checksums of all files; `sha256sum --check MANIFEST.sha256` tells whether one is damaged.
The course lives at $repository.
"""
)


def _listed(entries: list[str]) -> str:
    return "".join(f"    {json.dumps(entry)},\n" for entry in entries)


def _project(course: Course) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((course.kit / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _kit_project(course: Course) -> bytes:
    project = _project(course)
    text = _KIT_PROJECT.substitute(
        version=json.dumps(project["version"]),
        python=json.dumps(project["requires-python"]),
        dependencies=_listed(project["dependencies"]),
        lab=_listed(project["optional-dependencies"]["lab"]),
    )
    return text.encode()


def _kit_files(course: Course, problems: list[Problem]) -> Files:
    folder = course.kit / "utils" / "dlcvkit"
    files: Files = {}
    for path in sorted(folder.rglob("*")):
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        if path.is_dir() or set(_LEFT_OVERS) & set(relative.parts):
            continue
        name = path.relative_to(course.kit).as_posix()
        if path.is_symlink():
            problems.append(Problem(name, "is a link; the kit holds plain files only"))
        elif path.suffix not in _KIT_KINDS:
            problems.append(Problem(name, f"is of a kind the kit does not hold; known are {' '.join(_KIT_KINDS)}"))
        else:
            files[KIT / "dlcvkit" / relative] = path.read_bytes()
    if not files:
        problems.append(Problem("utils/dlcvkit", "is missing; a release takes the kit along"))
    return files


def _readme(course: Course, stage: Stage, notebooks: list[str]) -> bytes:
    text = _README.substitute(
        course=course.title,
        title=stage.title,
        stage=stage.name,
        due=stage.due.strftime("%d %B %Y, %H:%M %Z"),
        notebooks="\n".join(f"{number}. `{name}.ipynb`" for number, name in enumerate(notebooks, 1)),
        first=notebooks[0],
        id=course.id,
        repository=course.repository,
        python=_project(course)["requires-python"].removeprefix(">="),
    )
    return text.encode()


def release_files(course: Course, stage: Stage, built: Built) -> Files:
    """Gather the files of a release, the manifest included.

    Args:
        course: The course.
        stage: The stage.
        built: A build that holds it.

    Returns:
        Path below the release's folder to content.

    Raises:
        CourseProblems: If something that belongs to a release is missing, or the audit finds anything.
    """
    problems: list[Problem] = []
    files = _kit_files(course, problems)
    for name in _TAKEN_ALONG:
        try:
            files[PurePosixPath(name)] = (course.kit / name).read_bytes()
        except FileNotFoundError:
            problems.append(Problem(name, "is missing; a release takes it along"))
    if problems:
        raise CourseProblems(problems)
    folder = PurePosixPath(RELEASE, stage.name)
    files |= {
        path.relative_to(folder): content for path, content in built.released.items() if path.parts[1] == stage.name
    }
    notebooks = [name for name in stage.notebooks if PurePosixPath(f"{name}.ipynb") in files]
    files[KIT / "pyproject.toml"] = _kit_project(course)
    files[PurePosixPath("environment.yml")] = _ENVIRONMENT.substitute(id=course.id).encode()
    files[PurePosixPath("README.md")] = _readme(course, stage, notebooks)
    problems = audit(files, secrets_of(course, stage, built), root=str(course.root))
    if problems:
        raise CourseProblems(problems)
    files[PurePosixPath(MANIFEST)] = manifest(files)
    return files


def manifest(files: Mapping[PurePosixPath, bytes]) -> bytes:
    """Return the checksums of files, in the form that ``sha256sum --check`` reads."""
    return "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files)).encode()


def _mode(path: PurePosixPath) -> int:
    return 0o755 if path.suffix == _EXECUTABLE else 0o644


def zipped(files: Mapping[PurePosixPath, bytes], folder: str) -> bytes:
    """Return a zip of files below ``folder``; equal for equal files, whatever the clock and the file system say."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(f"{folder}/{path}", date_time=_ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = (0o100000 | _mode(path)) << 16
            archive.writestr(info, files[path])
    return buffer.getvalue()


def write_release(course: Course, stage: Stage, built: Built, out: Path, *, replace: bool = False) -> Path:
    """Write a release as a folder and a zip, or nothing at all.

    Args:
        course: The course.
        stage: The stage.
        built: A build that holds it.
        out: Where to put ``<id>-<stage>/`` and ``<id>-<stage>.zip``; created if need be.
        replace: Whether to replace a release that is there already.

    Returns:
        The folder.

    Raises:
        CourseProblems: If the release is incomplete, the audit finds anything, or one is there already.
    """
    files = release_files(course, stage, built)
    name = f"{course.id}-{stage.name}"
    folder, archive = out / name, out / f"{name}.zip"
    if out.exists() and not out.is_dir():
        raise CourseProblems([Problem(str(out), "is no folder")])
    for target in (folder, archive):
        if target.exists() and not replace:
            raise CourseProblems([Problem(str(target), "is there already; --force replaces it")])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out) as temporary:
        partial = Path(temporary) / name
        write_files(files, partial)
        for path in files:
            (partial / path).chmod(_mode(path))
        (Path(temporary) / archive.name).write_bytes(zipped(files, name))
        if folder.exists():
            shutil.move(folder, Path(temporary) / "replaced")
        partial.rename(folder)
        (Path(temporary) / archive.name).replace(archive)
    return folder
