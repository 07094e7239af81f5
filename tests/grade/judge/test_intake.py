"""What nbgrader takes from a student's folder; the attacks on it stand in ``tests/grade/attacks``."""

from __future__ import annotations

import os

import pytest

from dlcvgrade.judge import intake
from dlcvgrade.judge.intake import IntakeFailed, copy_shown, read_time, require_name


@pytest.mark.parametrize(
    "name", ["ada", "Ada Lovelace", "O'Brien", "ada_lovelace-1@example.org", "józef", "李", "1234"]
)
def test_names_of_people_are_taken(name):
    assert require_name(name) is None  # it raises for any other


@pytest.mark.parametrize("name", ["<b>", 'a"b', "a\\b", "a`b", "a\nb", "\u202eada", "=1+1", "+1", "-rf", "@SUM(A1)"])
def test_names_that_a_page_or_a_table_would_run_are_refused(name):
    with pytest.raises(IntakeFailed, match="rename the folder"):
        require_name(name)


@pytest.mark.parametrize(
    "text", ["2027-02-01 12:00:00 UTC", "2027-02-01 12:00:00.5 +0100\n", "2027-02-01T12:00:00Z", ""]
)
def test_time_is_read(tmp_path, text):
    assert read_time(tmp_path) is None
    (tmp_path / "timestamp.txt").write_text(text)
    assert read_time(tmp_path) == text.strip()


def test_time_that_is_none_is_refused(tmp_path):
    path = tmp_path / "timestamp.txt"
    for content in (b"soon", b"9999-99-99", b"\xff\xfe", b"2027-02-01 12:00:00 UTC" + b" " * 100):
        path.write_bytes(content)
        with pytest.raises(IntakeFailed, match=r"timestamp\.txt"):
            read_time(tmp_path)
    path.unlink()
    for make in (lambda: path.symlink_to("/dev/zero"), lambda: os.mkfifo(path), path.mkdir):
        make()
        with pytest.raises(IntakeFailed, match="no plain file"):
            read_time(tmp_path)
        path.rmdir() if path.is_dir() else path.unlink()


def test_files_are_copied_up_to_a_size_and_a_number(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.txt", "b.PNG", "c.html", "d.py", "knn.ipynb"):
        (source / name).write_text("12345")
    (tmp_path / "1").mkdir()
    assert sorted(copy_shown(source, tmp_path / "1")) == ["c.html", "d.py"]
    assert sorted(os.listdir(tmp_path / "1")) == ["a.txt", "b.PNG"]
    (tmp_path / "2").mkdir()
    monkeypatch.setattr(intake, "MOST_BYTES", 9)
    assert len(copy_shown(source, tmp_path / "2")) == 3
    assert len(os.listdir(tmp_path / "2")) == 1
    (tmp_path / "3").mkdir()
    monkeypatch.setattr(intake, "MOST_FILES", 5)
    assert "more than 5" in copy_shown(source, tmp_path / "3")[-1]
    assert os.listdir(tmp_path / "3") == []
