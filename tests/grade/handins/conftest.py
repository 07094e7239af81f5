"""A course of two stages, and downloads made on the spot."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from dlcvgrade import cli
from dlcvgrade.course import read_course
from dlcvgrade.handins.choosing import Wanted, wanted_of
from dlcvgrade.handins.taking import Taken, take_in

COURSE = """
[course]
id = "small"
title = "A Small Course"
repository = "https://example.org/small.git"
specs = "specs"

[late]
percent_per_day = 10
days = 5

[[stage]]
name = "a1"
title = "One"
due = 2027-02-05T23:59:00Z
notebooks = ["knn", "features"]

[[stage]]
name = "a2"
title = "Two"
due = 2027-03-05T23:59:00Z
notebooks = ["backprop"]
"""


@pytest.fixture
def notebook():
    """A function that returns a notebook as bytes."""
    return lambda text: json.dumps({"cells": [{"cell_type": "code", "source": text}], "nbformat": 4}).encode()


@pytest.fixture
def zipped():
    """A function that returns a zip as bytes; names may be ``ZipInfo``."""

    def zipped(files: dict[str | zipfile.ZipInfo, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, content in files.items():
                bundle.writestr(name, content, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    return zipped


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = tmp_path / "course"
    root.mkdir()
    (root / "course.toml").write_text(COURSE, encoding="utf-8")
    return root


@pytest.fixture
def wanted(home: Path) -> Wanted:
    course = read_course(home)
    return wanted_of(course, course.stage("a1"))


@pytest.fixture
def take(wanted, home, tmp_path):
    """A function that takes a download in, given as a path or as path to content, and checks what is left behind."""

    def take(download, system: str, **options) -> Taken:
        if isinstance(download, dict):
            files, download = download, tmp_path / f"download-{len(list(tmp_path.iterdir()))}"
            for name, content in files.items():
                (download / name).parent.mkdir(parents=True, exist_ok=True)
                (download / name).write_bytes(content)
        workspace = tmp_path / f"workspace-{len(list(tmp_path.iterdir()))}"
        workspace.mkdir()
        return take_in(download, system, wanted, options.pop("roster", None), home / "submitted", workspace, **options)

    return take


@pytest.fixture
def submitted(home: Path):
    """A function that returns path below ``submitted`` to content."""

    def submitted(folder: str = "submitted") -> dict[str, bytes]:
        root = home / folder
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    return submitted


@pytest.fixture
def dlcvgrade(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["dlcvgrade", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code, captured.out, captured.err

    return run


@pytest.fixture(autouse=True)
def nothing_is_written_elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder and see that it stays empty: a name of an archive may lead there."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert not list(here.iterdir())
    assert not (tmp_path / "escaped.ipynb").exists()
