"""A submission and a stage as bytes, so that they can be graded on another machine."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dlcvgrade.judge.batch import Examiner
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.material import Material
from dlcvgrade.judge.submissions import MAX_NOTEBOOK_BYTES, Submission

LINK = "link"


@dataclass(frozen=True)
class Parcel:
    """What one student handed in.

    Attributes:
        student: The student's id.
        files: File name to its bytes; or to its size, where it is too large to be read; or ``LINK``, where it is no
            ordinary file. The last two are graded without a look inside, wherever that happens.
        linked: Names of the files that have another name on the machine they come from.
        notebooks: Notebook name to file name.
        is_partial: As in ``Submission``.
    """

    student: str
    files: Mapping[str, bytes | int | str]
    linked: frozenset[str]
    notebooks: Mapping[str, str]
    is_partial: bool

    def unpack(self, folder: Path) -> Submission:
        """Write the files into a new folder in this one and return the submission."""
        folder, others = folder / "handed-in", folder / "others"
        folder.mkdir()
        others.mkdir()
        for name, content in self.files.items():
            path = folder / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, int):
                with path.open("wb") as file:
                    file.truncate(content)
            else:
                path.symlink_to("nowhere")
            if name in self.linked:  # which counts as somebody else's file, wherever it is graded
                (others / name).hardlink_to(path)
        paths = {name: folder / file for name, file in self.notebooks.items()}
        return Submission(self.student, folder, paths, self.is_partial)


def pack(submission: Submission, answers: Sequence[str]) -> Parcel:
    """Return a submission as bytes.

    Args:
        submission: What was handed in.
        answers: Names of the files that saved answers are handed in as.

    Raises:
        OSError: If a file cannot be opened here.
    """
    paths = [*submission.notebooks.values(), *(submission.folder / name for name in answers)]
    files = {path.name: _content(path) for path in paths if os.path.lexists(path)}
    linked = frozenset(path.name for path in paths if path.is_file() and path.stat().st_nlink > 1)
    notebooks = {name: path.name for name, path in submission.notebooks.items()}
    return Parcel(submission.student, files, linked, notebooks, submission.is_partial)


def _content(path: Path) -> bytes | int | str:
    if path.is_symlink() or not path.is_file():
        return LINK
    size = path.stat().st_size
    return size if size > MAX_NOTEBOOK_BYTES else path.read_bytes()


@dataclass(frozen=True)
class Kit:
    """What a machine needs to grade a stage, besides this package: no file of the course has to be there.

    Attributes:
        material: The stage; its folder of specs is not valid elsewhere.
        specs: File name to content of the stage's specs.
        limits: What an exercise and a submission may use.
        seed: Seed of every submission; None draws one for each.
        needs_sandbox: Whether a machine without a sandbox is to refuse.
    """

    material: Material
    specs: Mapping[str, bytes]
    limits: Limits
    seed: int | None
    needs_sandbox: bool

    def key(self) -> str:
        """Return what tells this from any other."""
        return hashlib.sha256(pickle.dumps(self)).hexdigest()

    def unpack(self, folder: Path) -> Material:
        """Write the specs into an empty folder and return the material with them."""
        home = folder / self.material.stage
        home.mkdir(parents=True)
        for name, content in self.specs.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(content)
        return replace(self.material, specs=folder)


def kit_of(examiner: Examiner, *, needs_sandbox: bool) -> Kit:
    """Return what another machine needs to grade as an examiner does here."""
    material = examiner.material
    home = material.specs / material.stage
    specs = {path.relative_to(home).as_posix(): path.read_bytes() for path in sorted(home.rglob("*.py"))}
    return Kit(replace(material), specs, examiner.limits, examiner.seed, needs_sandbox)
