"""Archives that want something else than to be graded."""

from __future__ import annotations

import json
import stat
import struct
import zipfile

import pytest

from dlcvgrade.handins import archives
from dlcvgrade.handins.archives import Budget, Refused, Scratch, unpack
from dlcvgrade.problems import CourseProblems


def notes(taken):
    (row,) = taken.rows
    return "\n".join(note.text for note in row.notes if not note.is_fine)


def info(name, mode=0o100644):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


@pytest.mark.parametrize(
    "name",
    ["../escaped.ipynb", "a/../../../escaped.ipynb", "/tmp/escaped.ipynb", "C:/escaped.ipynb", "..\\escaped.ipynb"],
)
def test_names_that_lead_out_refuse_the_archive(take, submitted, zipped, notebook, name):
    archive = zipped({"knn.ipynb": notebook("knn"), info(name): notebook("escaped")})
    taken = take({"ada.zip": archive}, "plain")
    assert "leads out of its folder" in notes(taken) and "nothing of this archive is taken" in notes(taken)
    assert not submitted()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO], ids=["link", "device", "pipe"])
def test_links_and_devices_refuse_the_archive(take, submitted, zipped, kind):
    taken = take({"ada.zip": zipped({info("knn.ipynb", kind | 0o777): b"/etc/passwd"})}, "plain")
    assert "is a link or a device" in notes(taken)
    assert not submitted()


def test_file_that_grows_too_much_refuses_the_archive(take, submitted, zipped):
    taken = take({"ada.zip": zipped({"knn.ipynb": b"0" * (8 << 20)})}, "plain")
    assert "grows more than 200-fold" in notes(taken)
    assert not submitted()


def test_file_that_lies_about_its_size_is_damaged(take, submitted, zipped):
    content = b"0" * (8 << 20)
    archive = zipped({"knn.ipynb": content}).replace(struct.pack("<I", len(content)), struct.pack("<I", 10))
    assert "is damaged" in notes(take({"ada.zip": archive}, "plain"))
    assert not submitted()


def test_file_that_nobody_needs_may_grow_and_is_not_unpacked(take, zipped, notebook):
    data = {"knn.ipynb": notebook("k"), "features.ipynb": notebook("f"), "data.bin": b"0" * (1 << 20)}
    taken = take({"ada.zip": zipped(data)}, "plain")
    assert notes(taken) == ""
    assert taken.rows[0].files == 2


def test_zips_in_zips_share_one_budget(take, submitted, zipped, monkeypatch):
    monkeypatch.setattr("dlcvgrade.handins.choosing.student_budget", lambda: Budget(3_000_000, 100))
    inner = zipped({"knn.ipynb": bytes(range(256)) * 4000})
    taken = take({"ada.zip": zipped({f"{number}.zip": inner for number in range(5)})}, "plain")
    assert "unpacks to too many bytes" in notes(taken)


def test_too_many_files_and_too_many_levels_are_refused(take, zipped, monkeypatch, notebook):
    monkeypatch.setattr("dlcvgrade.handins.choosing.student_budget", lambda: Budget(1 << 20, 50))
    many = zipped({f"{number}.txt": b"" for number in range(51)})
    assert "holds too many files" in notes(take({"ada.zip": many}, "plain"))
    nested = zipped({"knn.ipynb": notebook("knn")})
    for level in range(4):
        nested = zipped({f"{level}.zip": nested})
    assert "lies in 3 other archives" in notes(take({"bob.zip": nested}, "plain"))


def test_directory_of_a_million_entries_is_refused_before_it_is_read(tmp_path, zipped, monkeypatch):
    path = tmp_path / "many.zip"
    path.write_bytes(zipped({f"{number}": b"" for number in range(1000)}))
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("the directory was read"))
    with pytest.raises(Refused, match="too many files"):
        unpack(path, Scratch(tmp_path), Budget(1 << 20, 100))


def test_encrypted_archive_is_told(take, submitted, zipped, notebook):
    archive = bytearray(zipped({"knn.ipynb": notebook("knn")}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = archive.index(mark) + offset
        archive[at : at + 2] = struct.pack("<H", 1)
    assert "is encrypted" in notes(take({"ada.zip": bytes(archive)}, "plain"))
    assert not submitted()


@pytest.mark.parametrize("damage", ["no zip", "cut", "contents", "empty"])
def test_damaged_archive_is_told_and_stops_nobody_else(take, submitted, zipped, notebook, damage):
    good = zipped({"knn.ipynb": notebook("knn " * 100)})
    middle = len(good) // 3
    bad = {
        "no zip": b"Rar!\x1a\x07",
        "cut": good[: len(good) // 2],
        "contents": good[:middle] + bytes(b ^ 0xFF for b in good[middle : middle + 8]) + good[middle + 8 :],
        "empty": b"",
    }[damage]
    taken = take({"ada.zip": bad, "bob.zip": good}, "plain")
    assert sorted(submitted()) == ["bob/a1/knn.ipynb"]
    told = "\n".join(note.text for row in taken.rows if row.student == "ada" for note in row.notes)
    assert "nothing of this archive is taken" in told
    assert {row.student for row in taken.rows} == {"ada", "bob"}


def test_one_bad_name_in_the_download_of_a_class_costs_that_file_alone(take, submitted, tmp_path, zipped, notebook):
    path = tmp_path / "class.zip"
    path.write_bytes(zipped({info("../ada_1_2_knn.ipynb"): b"x", info("bob_3_4_knn.ipynb"): notebook("knn")}))
    taken = take(path, "canvas")
    assert taken.strays == ["../ada_1_2_knn.ipynb leads out of its folder"]
    assert list(submitted()) == ["bob/a1/knn.ipynb"]


def test_download_that_is_no_zip_is_refused(take, tmp_path):
    path = tmp_path / "class.zip"
    path.write_bytes(b"<html>sign in</html>")
    with pytest.raises(CourseProblems, match="is no zip; expected a folder or a zip"):
        take(path, "canvas")


def test_links_in_a_folder_are_not_followed(take, submitted, tmp_path, notebook):
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(notebook("secret"))
    folder = tmp_path / "download"
    (folder / "ada").mkdir(parents=True)
    (folder / "ada" / "features.ipynb").write_bytes(notebook("f"))
    (folder / "ada" / "knn.ipynb").symlink_to(secret)
    (folder / "bob").symlink_to(tmp_path)
    taken = take(folder, "plain")
    assert list(submitted()) == ["ada/a1/features.ipynb"]
    assert [line.split(" is ")[0] for line in taken.strays] == ["bob", "ada/knn.ipynb"]


@pytest.mark.parametrize(
    ("name", "student"),
    [("=cmd|' /C calc'!A0", "cmd_C_calcA0"), ("../../escaped", "escaped"), ("a\u202eb", "ab"), ("-rf", "rf")],
)
def test_student_ids_are_tame(take, submitted, zipped, notebook, name, student):
    manifest = json.dumps({"student": name, "stage": "a1", "files": []}).encode()
    take({"x.zip": zipped({"knn.ipynb": notebook("knn"), "manifest.json": manifest})}, "plain")
    assert list(submitted()) == [f"{student}/a1/knn.ipynb"]


def test_a_students_own_time_stamp_is_not_taken(take, submitted, zipped, notebook):
    archive = zipped({"knn.ipynb": notebook("k"), "timestamp.txt": b"2001-01-01 00:00:00 UTC"})
    take({"ada.zip": archive}, "plain")
    assert list(submitted()) == ["ada/a1/knn.ipynb"]


def test_limits_are_those_that_the_guide_names():
    student, whole = archives.student_budget(), archives.download_budget()
    assert (student.size, student.members, archives.MAX_RATIO, archives.MAX_DEPTH) == (256 << 20, 20_000, 200, 3)
    assert whole.size == 32 << 30


def test_flat_name_that_holds_another_number_stays_with_whoever_handed_it_in(take, submitted, notebook):
    eve = "Eve_501_assignsubmission_file_x_502_assignsubmission_file_knn.ipynb"
    take({eve: notebook("eve"), "Ada_502_assignsubmission_file_knn.ipynb": notebook("ada")}, "moodle")
    assert submitted()["Ada/a1/knn.ipynb"] == notebook("ada")
    assert submitted()["Eve/a1/knn.ipynb"] == notebook("eve")
