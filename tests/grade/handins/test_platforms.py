"""Downloads as the platforms make them."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dlcvgrade.judge.intake import read_time
from dlcvgrade.problems import CourseProblems
from dlcvgrade.results.roster import read_roster
from dlcvkit.commands import submit


@pytest.fixture
def both(notebook):
    return {"knn.ipynb": notebook("knn"), "features.ipynb": notebook("features")}


def told(taken, student):
    (row,) = [row for row in taken.rows if row.student == student]
    return "\n".join(note.text for note in row.notes)


def canvas(name, user, files, *, first=900):
    return {f"{name}_{user}_{first + number}_{file}": content for number, (file, content) in enumerate(files.items())}


def test_canvas_gives_each_student_a_folder(take, submitted, both):
    taken = take({**canvas("lovelaceada", 11, both), **canvas("ñandújosé", 12, both)}, "canvas")
    assert sorted(submitted()) == [
        f"{student}/a1/{name}" for student in ("lovelaceada", "ñandújosé") for name in sorted(both)
    ]
    assert all(row.is_fine for row in taken.rows) and not taken.strays and taken.written == 2


def test_canvas_newest_attempt_counts_and_older_ones_are_kept(take, submitted, notebook, both):
    files = {
        "ada_11_950_knn-2.ipynb": notebook("third"),
        "ada_11_910_knn-1.ipynb": notebook("second"),
        "ada_11_900_knn.ipynb": notebook("first"),
        "ada_11_901_features.ipynb": both["features.ipynb"],
    }
    taken = take(files, "canvas")
    assert submitted()["ada/a1/knn.ipynb"] == notebook("third")
    assert sorted(submitted("submitted-aside").values()) == sorted([notebook("first"), notebook("second")])
    assert "knn.ipynb was handed in again; the newest counts" in told(taken, "ada")
    assert taken.rows[0].is_fine


def test_canvas_tenth_attempt_is_newer_than_the_ninth(take, submitted, notebook):
    take({f"ada_11_{900 + n}_knn-{n}.ipynb": notebook(f"attempt {n}") for n in (9, 10)}, "canvas")
    assert submitted()["ada/a1/knn.ipynb"] == notebook("attempt 10")


def test_canvas_zip_that_is_newer_beats_a_notebook(take, submitted, notebook, zipped, both):
    archive = zipped({"a1/knn.ipynb": notebook("in the zip"), "a1/features.ipynb": both["features.ipynb"]})
    taken = take({"ada_11_900_knn.ipynb": notebook("alone"), "ada_11_950_work.zip": archive}, "canvas")
    assert submitted()["ada/a1/knn.ipynb"] == notebook("in the zip")
    assert list(submitted("submitted-aside").values()) == [notebook("alone")]
    assert "knn.ipynb is there more than once" in told(taken, "ada")


def test_canvas_late_mark_is_told_and_asks_for_a_time(take, submitted, both):
    taken = take({f"ada_LATE_11_90{n}_{name}": content for n, (name, content) in enumerate(both.items())}, "canvas")
    assert told(taken, "ada").startswith("late, says Canvas")
    assert not taken.rows[0].is_fine
    assert "ada/a1/timestamp.txt" not in submitted()


def test_two_students_of_one_name_stay_apart(take, submitted, both):
    taken = take({**canvas("ada", 11, both), **canvas("ada", 12, both)}, "canvas")
    assert [row.student for row in taken.rows] == ["ada-11", "ada-12"]
    assert not any(row.is_fine for row in taken.rows)


def test_roster_gives_ids_and_says_who_is_missing(take, tmp_path, both):
    path = tmp_path / "roster.csv"
    path.write_text('Student,ID,SIS Login ID\n"Lovelace, Ada",11,al1815\n"Hopper, Grace",12,gh1906\n')
    roster = read_roster(path, "canvas")
    taken = take({**canvas("lovelaceada", 11, both), **canvas("nobody", 13, both)}, "canvas", roster=roster)
    assert [row.student for row in taken.rows] == ["al1815", "nobody"]
    assert told(taken, "nobody") == "is not in roster.csv; taken by name"
    assert taken.absent == ["Hopper, Grace"]


def test_moodle_folders_and_files_without_folders(take, submitted, both):
    files = {f"José Ñandú_501_assignsubmission_file_/{name}": content for name, content in both.items()}
    files |= {f"Ada Lovelace_502_assignsubmission_file_{name}": content for name, content in both.items()}
    taken = take({f"course-Stage 1-1234/{name}": content for name, content in files.items()}, "moodle")
    assert [row.student for row in taken.rows] == ["Ada_Lovelace", "José_Ñandú"]
    assert all(row.is_fine and row.files == 2 for row in taken.rows)
    assert submitted()["José_Ñandú/a1/knn.ipynb"] == both["knn.ipynb"]


def test_moodle_roster_of_addresses(take, tmp_path, both):
    path = tmp_path / "grades.csv"
    path.write_text("Identifier,Full name,Email address\nParticipant 501,Ada,ada@example.org\n")
    files = {f"Ada_501_assignsubmission_file_/{name}": content for name, content in both.items()}
    assert [row.student for row in take(files, "moodle", roster=read_roster(path, "moodle")).rows] == ["ada"]


METADATA = """\
---
submission_7:
  :submitters:
  - :name: Ada Lovelace
    :sid: "1815"
    :email: ada@example.org
  :created_at: 2027-02-05 22:30:00.5 -08:00
  :score: 1.0
submission_8:
  :submitters:
  - :name: Grace Hopper
    :sid:
    :email: grace@example.org
  - :name: Kathleen Booth
    :sid: "1922"
  :created_at: !ruby/object:ActiveSupport::TimeWithZone
    utc: 2027-02-05 10:00:00 Z
submission_9:
  :submitters:
  - :name: Left Out
    :sid: "9"
  :created_at: 2027-02-05 10:00:00 Z
"""


def gradescope(both):
    files = {f"assignment_1_export/submission_{n}/{name}": both[name] for n in (7, 8) for name in both}
    return {**files, "assignment_1_export/submission_metadata.yml": METADATA.encode()}


def test_gradescope_times_groups_and_folders_that_are_missing(take, submitted, home, both):
    taken = take({**gradescope(both), "assignment_1_export/submission_99/knn.ipynb": b"x"}, "gradescope")
    assert [row.student for row in taken.rows] == ["1815", "1922", "9", "grace@example.org"]
    assert read_time(home / "submitted/1815/a1") == "2027-02-06 06:30:00.500000 UTC"
    assert read_time(home / "submitted/1922/a1") == "2027-02-05 10:00:00.000000 UTC"
    assert "handed in by 2 together" in told(taken, "1922")
    assert "submission_9 is not in the download" in told(taken, "9")
    assert "submitted/9" not in submitted() and not (home / "submitted/9").exists()
    assert taken.strays == ["assignment_1_export/submission_99/knn.ipynb stands in no entry of submission_metadata.yml"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "!!python/object/apply:os.system ['true']"])
def test_gradescope_list_that_is_none_is_refused(take, both, text):
    with pytest.raises(CourseProblems, match="is no list of submissions"):
        take({**gradescope(both), "assignment_1_export/submission_metadata.yml": text.encode()}, "gradescope")


def test_plain_folders_zips_and_notebooks(take, submitted, zipped, both):
    files = {f"ada/{name}": content for name, content in both.items()}
    files |= {f"bob_{name}": content for name, content in both.items()}
    files |= {"cleo-a1.zip": zipped({f"work/{name}": content for name, content in both.items()})}
    files |= {f"dora/a1/{name}": content for name, content in both.items()}
    taken = take(files, "plain")
    assert [row.student for row in taken.rows] == ["ada", "bob", "cleo", "dora"]
    assert all(row.is_fine and row.files == 2 for row in taken.rows)
    assert len(submitted()) == 8


@pytest.fixture
def packed(both, tmp_path):
    """A function that returns a zip as ``dlcvkit submit`` writes it, with some notebooks exchanged afterwards."""

    def packed(student="ada", stage="a1", **changed):
        now = datetime(2027, 2, 5, tzinfo=UTC)
        manifest = submit.manifest_of(submit.HandIn(both), student, stage, now)
        files = {name: changed.get(name.removesuffix(".ipynb"), content) for name, content in both.items()}
        path = tmp_path / "packed.zip"
        submit.write_zip(path, f"{student}/{stage}", {**files, submit.MANIFEST: json.dumps(manifest).encode()}, now)
        return path.read_bytes()

    return packed


def test_zip_of_submit_is_taken_by_its_manifest(take, submitted, tmp_path, packed):
    path = tmp_path / "download.zip"
    path.write_bytes(packed())
    taken = take(path, "plain")
    assert [(row.student, row.files, row.is_fine) for row in taken.rows] == [("ada", 2, True)]
    assert sorted(submitted()) == ["ada/a1/features.ipynb", "ada/a1/knn.ipynb"]


def test_zip_of_submit_that_was_changed_or_is_somebody_elses_is_told(take, packed, notebook):
    files = {"eve/x.zip": packed(knn=notebook("changed later")), "ada.zip": packed()}
    taken = take(files, "plain")
    assert "knn.ipynb was changed after it was packed" in told(taken, "eve")
    assert "the manifest says that it is ada's" in told(taken, "eve")
    assert told(taken, "ada") == ""


def test_file_that_the_manifest_names_and_the_zip_lacks_is_told(take, zipped, both):
    manifest = {"student": "ada", "stage": "a1", "files": [{"name": "w.safetensors", "sha256": "0" * 64}]}
    archive = zipped({**both, "manifest.json": json.dumps(manifest).encode()})
    assert "w.safetensors stands in the manifest and is not there" in told(take({"a.zip": archive}, "plain"), "ada")


def test_class_of_which_one_came_by_submit_is_no_zip_of_one_student(take, submitted, tmp_path, zipped, packed, both):
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(io.BytesIO(packed())) as one:
        files = {name: one.read(name) for name in one.namelist()}
    path.write_bytes(zipped({**files, **{f"bob/{name}": content for name, content in both.items()}}))
    assert [(row.student, row.files, row.is_fine) for row in take(path, "plain").rows] == [
        ("ada", 2, True),
        ("bob", 2, True),
    ]


def test_zip_of_submit_on_canvas_and_again(take, submitted, packed, notebook):
    files = {
        "lovelaceada_11_900_a1-ada.zip": packed(),
        "lovelaceada_11_950_a1-ada-1.zip": packed(knn=notebook("second")),
    }
    taken = take(files, "canvas")
    assert submitted()["lovelaceada/a1/knn.ipynb"] == notebook("second")
    assert len(submitted("submitted-aside")) == 1
    assert "knn.ipynb was changed after it was packed" in told(taken, "lovelaceada")


def test_work_of_another_stage_is_not_taken(take, submitted, packed):
    taken = take({"ada.zip": packed(stage="a2")}, "plain")
    assert not submitted()
    assert "lies in a folder of a2" in told(taken, "ada")


def test_what_no_platform_names_so_is_refused(take, both):
    with pytest.raises(CourseProblems, match="holds no hand-in as moodle names them"):
        take(canvas("ada", 11, both), "moodle")
    with pytest.raises(CourseProblems, match="does not exist"):
        take(Path("missing.zip"), "canvas")


def test_strays_are_told_and_do_not_stop_the_rest(take, both):
    taken = take({**canvas("ada", 11, both), "ada_12345_text.html": b"words"}, "canvas")
    assert taken.strays == ["ada_12345_text.html is not named as Canvas names files"]
    assert taken.written == 1
