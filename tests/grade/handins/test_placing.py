"""What is written, what is kept, and what the command says."""

from __future__ import annotations

import pytest

from dlcvgrade.course import read_course
from dlcvgrade.handins.choosing import wanted_of


@pytest.fixture
def download(tmp_path, notebook):
    folder = tmp_path / "from here"
    (folder / "Ada Lovelace").mkdir(parents=True)
    for name in ("knn", "features"):
        (folder / "Ada Lovelace" / f"{name}.ipynb").write_bytes(notebook(name))
    return folder


@pytest.fixture
def run_import(dlcvgrade, home, download):
    return lambda *more: dlcvgrade("import", download, "--stage", "a1", "--from", "plain", "--course", home, *more)


def test_import_writes_then_finds_it_unchanged(run_import, submitted, home):
    code, out, _ = run_import()
    assert (code, sorted(submitted())) == (0, ["Ada_Lovelace/a1/features.ipynb", "Ada_Lovelace/a1/knn.ipynb"])
    assert "1 students, 1 written to" in out
    code, out, _ = run_import()
    assert code == 0 and "is there already, unchanged" in out and "0 written" in out
    assert sorted(path.name for path in home.iterdir()) == ["course.toml", "submitted"]


def test_dry_run_writes_nothing_and_says_the_same(run_import, home):
    code, out, _ = run_import("--dry-run")
    assert code == 0 and "Ada_Lovelace" in out and "1 would be written" in out
    assert [path.name for path in home.iterdir()] == ["course.toml"]


def test_what_is_there_is_replaced_only_when_told_and_kept_even_then(run_import, submitted, home, download, notebook):
    run_import()
    (home / "submitted/Ada_Lovelace/a1/timestamp.txt").write_text("2027-02-06 10:00:00 UTC")
    (download / "Ada Lovelace/knn.ipynb").write_bytes(notebook("second try"))
    before = submitted()
    code, out, _ = run_import()
    assert code == 1 and "--replace" in out
    assert submitted() == before
    code, out, _ = run_import("--dry-run", "--replace")
    assert code == 0 and submitted() == before
    code, out, _ = run_import("--replace")
    assert code == 0 and submitted()["Ada_Lovelace/a1/knn.ipynb"] == notebook("second try")
    kept = {f"Ada_Lovelace/a1/{path.rpartition('/')[2]}": text for path, text in submitted("submitted-aside").items()}
    assert kept == before


def test_nothing_half_written_stays_when_it_is_cut_short(run_import, submitted, home, monkeypatch):
    def cut_short(source, target):
        target.write_bytes(source.read_bytes()[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dlcvgrade.handins.placing.shutil.copyfile", cut_short)
    code, _, err = run_import()
    assert code == 2 and "No space left on device" in err
    assert not submitted() and [path.name for path in home.iterdir()] == ["course.toml"]


def test_missing_and_unreadable_notebooks_are_told(run_import, submitted, download):
    (download / "Ada Lovelace/knn.ipynb").unlink()
    (download / "Ada Lovelace/features.ipynb").write_text("{")
    code, out, _ = run_import()
    assert code == 1
    assert "missing: knn.ipynb" in out and "features.ipynb cannot be read as a notebook" in out
    assert list(submitted()) == ["Ada_Lovelace/a1/features.ipynb"]


def test_copies_of_a_name_are_taken_and_told(run_import, submitted, download, notebook):
    home = download / "Ada Lovelace"
    (home / "knn.ipynb").rename(home / "knn (1).ipynb")
    (home / "features - Copy.ipynb").write_bytes(notebook("other features"))
    code, out, _ = run_import()
    assert code == 1
    assert "knn (1).ipynb is taken as knn.ipynb" in out
    assert "features.ipynb counts, not features - Copy.ipynb" in " ".join(out.replace("│", " ").split())
    assert submitted()["Ada_Lovelace/a1/features.ipynb"] == notebook("features")
    assert list(submitted("submitted-aside").values()) == [notebook("other features")]


def test_student_folder_that_is_a_link_is_left_alone(run_import, home, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home / "submitted").mkdir()
    (home / "submitted/Ada_Lovelace").symlink_to(elsewhere)
    code, out, _ = run_import()
    assert code == 1 and "is no folder" in " ".join(out.replace("│", " ").split())
    assert not list(elsewhere.iterdir())


def test_saved_answers_are_asked_for(home):
    source = home / "solutions/a1/knn.py"
    source.parent.mkdir(parents=True)
    source.write_text('# %%\ncheck("a1/answer", "weights.safetensors")\n', encoding="utf-8")
    course = read_course(home)
    assert wanted_of(course, course.stage("a1")).answers == ("weights.safetensors",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--stage", "a9"], "there is no stage 'a9'"),
        (["--roster", "nowhere.csv"], "is of no use to plain"),
        (["--out", "../course/course.toml"], "is a file; expected a folder"),
        (["--from", "blackboard"], "blackboard"),
    ],
)
def test_wrong_use_is_exit_code_2(run_import, change, message):
    code, _, err = run_import(*change)
    assert code == 2 and message in err


def test_out_names_another_folder(run_import, tmp_path):
    assert run_import("--out", tmp_path / "deep" / "folder")[0] == 0
    assert (tmp_path / "deep/folder/Ada_Lovelace/a1/knn.ipynb").is_file()
    assert not (tmp_path / "deep/folder-aside").exists()
