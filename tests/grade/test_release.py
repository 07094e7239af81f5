from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import PurePosixPath

import pytest

from dlcvgrade.problems import CourseProblems
from dlcvgrade.release import release_files, write_release


@pytest.fixture
def released(toy_course, toy_built, tmp_path):
    return write_release(toy_course, toy_course.stage("a1"), toy_built, tmp_path / "out")


def complaints(course, built, out, **options):
    with pytest.raises(CourseProblems) as caught:
        write_release(course, course.stage("a1"), built, out, **options)
    return [str(problem) for problem in caught.value.problems]


def test_release_holds_what_a_student_needs_and_nothing_else(released):
    found = {path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()}
    assert found == {
        "toy.ipynb", "README.md", "LICENSE", "MANIFEST.sha256", "constraints.txt", "environment.yml",
        "data_download.sh",
        "kit/pyproject.toml", "kit/dlcvkit/__init__.py", "kit/dlcvkit/py.typed",
    }  # fmt: skip
    assert (released / "data_download.sh").stat().st_mode & 0o111


def test_manifest_fits_the_files(released):
    lines = (released / "MANIFEST.sha256").read_text().splitlines()
    assert len(lines) == 9
    for line in lines:
        digest, path = line.split("  ")
        assert hashlib.sha256((released / path).read_bytes()).hexdigest() == digest


def test_zip_holds_the_same_files_and_is_deterministic(released, toy_course, toy_built, tmp_path):
    archive = released.with_name("toy-a1.zip")
    with zipfile.ZipFile(archive) as opened:
        files = {info.filename: opened.read(info) for info in opened.infolist()}
        assert all(info.date_time == (1980, 1, 1, 0, 0, 0) for info in opened.infolist())
    on_disk = {f"toy-a1/{path.relative_to(released).as_posix()}": path.read_bytes()
               for path in released.rglob("*") if path.is_file()}  # fmt: skip
    assert files == on_disk
    again = write_release(toy_course, toy_course.stage("a1"), toy_built, tmp_path / "again")
    assert again.with_name("toy-a1.zip").read_bytes() == archive.read_bytes()


def test_kit_project_installs_the_student_package_only(released):
    project = tomllib.loads((released / "kit/pyproject.toml").read_text())
    assert project["project"]["name"] == "dlcvkit"
    assert project["project"]["dependencies"] == ["torch>=2.6"]
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["dlcvkit"]
    assert "dlcvgrade" not in (released / "kit/pyproject.toml").read_text()


def test_readme_says_how_to_set_up_start_check_and_hand_in(released):
    text = (released / "README.md").read_text()
    for heading in ("Set up", "Start", "Check", "Hand in"):
        assert f"## {heading}" in text
    assert "05 February 2027" in text
    assert "$" not in text


def test_kit_is_importable_from_the_release_alone(released):
    code = "import dlcvkit; print(dlcvkit.__file__)"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(released / 'kit')!r}); {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.startswith(str(released))


def test_left_overs_of_the_kit_stay_behind(toy_course, toy_built):
    kit = toy_course.root / "utils/dlcvkit"
    (kit / "__pycache__").mkdir()
    (kit / "__pycache__/a.cpython-311.pyc").write_bytes(b"x")
    assert not any("pycache" in str(path) for path in release_files(toy_course, toy_course.stage("a1"), toy_built))


def test_strange_file_in_the_kit_is_told(toy_course, toy_built, tmp_path):
    (toy_course.root / "utils/dlcvkit/weights.pkl").write_bytes(b"x")
    (line,) = complaints(toy_course, toy_built, tmp_path / "out")
    assert line.startswith("utils/dlcvkit/weights.pkl: is of a kind the kit does not hold")


def test_missing_parts_are_told_and_nothing_is_written(toy_course, toy_built, tmp_path):
    (toy_course.root / "constraints.txt").unlink()
    (toy_course.root / "LICENSE").unlink()
    assert complaints(toy_course, toy_built, tmp_path / "out") == [
        "constraints.txt: is missing; a release takes it along",
        "LICENSE: is missing; a release takes it along",
    ]
    assert not (tmp_path / "out").exists()


def test_leak_stops_the_release_before_anything_is_written(toy_course, toy_built, tmp_path):
    spec = (toy_course.root / "autograder/specs/a1/toy.py").read_text()
    (toy_course.root / "utils/dlcvkit/copied.py").write_text(spec)
    lines = complaints(toy_course, toy_built, tmp_path / "out")
    assert any("kit/dlcvkit/copied.py" in line and "a line of a hidden case" in line for line in lines)
    assert not (tmp_path / "out").exists()


def test_solved_notebook_in_place_of_the_released_one_is_stopped(toy_course, toy_built, tmp_path):
    swapped = dataclasses.replace(
        toy_built,
        released={PurePosixPath("assignments/a1/toy.ipynb"): toy_built.solved[PurePosixPath("solutions/a1/toy.ipynb")]},
    )
    lines = complaints(toy_course, swapped, tmp_path / "out")
    assert any("a line of a solution" in line for line in lines)
    assert any("calls hidden_check" in line for line in lines)


def test_earlier_release_is_kept_unless_told_otherwise(released, toy_course, toy_built):
    (released / "mine.txt").write_text("kept")
    (line,) = complaints(toy_course, toy_built, released.parent)
    assert line.endswith("is there already; --force replaces it")
    assert (released / "mine.txt").exists()
    write_release(toy_course, toy_course.stage("a1"), toy_built, released.parent, replace=True)
    assert not (released / "mine.txt").exists()
    assert sorted(path.name for path in released.parent.iterdir()) == ["toy-a1", "toy-a1.zip"]
