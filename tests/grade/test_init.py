"""A private course made from a kit, kept up to date with it, and used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dlcvgrade import cli
from dlcvgrade.course import read_course
from dlcvgrade.init.update import RECORD, plan
from dlcvgrade.session import open_course

CONFIG = Path(__file__).parents[2] / "nbgrader_config.py"


@pytest.fixture
def dlcvgrade(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["dlcvgrade", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def kit(toy_root):
    shutil.copy(CONFIG, toy_root)
    return toy_root


@pytest.fixture
def private(tmp_path):
    return tmp_path / "private"


@pytest.fixture
def made(dlcvgrade, kit, private):
    """A course as ``init`` made it."""
    code, _, err = dlcvgrade("init", private, "--kit", kit)
    assert (code, err) == (0, "")
    return private


def test_init_writes_a_course_of_its_own(dlcvgrade, kit, private):
    options = ["--id", "vision27", "--title", 'Vision "2027"', "--due", "a1=2027-09-30T23:59:00+02:00"]
    code, out, _ = dlcvgrade("init", private, "--kit", kit, *options)
    assert code == 0 and "is ready" in out and "due dates are the kit's" not in out
    course = read_course(private)
    assert (course.id, course.title, course.kit.resolve()) == ("vision27", 'Vision "2027"', kit.resolve())
    assert course.stages[0].due.isoformat() == "2027-09-30T23:59:00+02:00"
    assert course.specs == private / "specs"
    assert (private / "specs/a1/toy.py").read_bytes() == (kit / "autograder/specs/a1/toy.py").read_bytes()
    assert "/submitted/" in (private / ".gitignore").read_text()
    assert "dlcvgrade grade a1" in (private / "README.md").read_text()
    assert not [path for path in private.parent.iterdir() if path.name.startswith(".init-")]


def test_init_fills_a_fresh_clone_and_nothing_else(dlcvgrade, kit, private):
    (private / ".git").mkdir(parents=True)
    assert dlcvgrade("init", private, "--kit", kit)[0] == 0
    before = sorted(private.rglob("*"))
    code, _, err = dlcvgrade("init", private, "--kit", kit)
    assert code == 2 and "is not empty; --update brings a course up to date" in err
    assert sorted(private.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--id", "two words"], "--id: is 'two words'; expected letters"),
        (["--due", "a1=2027-09-30T23:59:00"], "--due: is 'a1=2027-09-30T23:59:00'; expected a stage and a time"),
        (["--due", "a9=2027-09-30T23:59:00Z"], "--due: is 'a9="),
        (["--db-url", "postgresql://me:secret@host/db"], "--db-url: holds a password"),
        (["--db-url", "mysql://host/db"], "is of mysql; expected sqlite or postgresql"),
        (["--db-url", "sqlite:///gradebook.db"], "names no absolute path"),
        (["--db-url", "gradebook.db"], "is no address of a database"),
        (["--keep", "specs/a1/toy.py"], "--keep goes with --update"),
    ],
)
def test_what_makes_no_sense_writes_nothing(dlcvgrade, kit, private, options, message):
    code, _, err = dlcvgrade("init", private, "--kit", kit, *options)
    assert code == 2 and message in err
    assert "secret" not in err
    assert not private.exists()


def test_course_inside_the_kit_and_kit_that_is_none_are_refused(dlcvgrade, kit, private, toy_root):
    code, _, err = dlcvgrade("init", kit / "private", "--kit", kit)
    assert code == 2 and "lies in the kit" in err
    (kit / "nbgrader_config.py").unlink()
    code, _, err = dlcvgrade("init", private, "--kit", kit)
    assert code == 2 and "is no repository of the kit" in err


def test_gradebook_on_postgresql_is_what_nbgrader_is_told(dlcvgrade, kit, private):
    assert dlcvgrade("init", private, "--kit", kit, "--db-url", "postgresql://grader@db.example.org/vision")[0] == 0
    text = (private / "nbgrader_config.py").read_text()
    assert 'c.CourseDirectory.db_url = "postgresql+psycopg://grader@db.example.org/vision"' in text


def test_gradebook_elsewhere_on_sqlite_is_used(dlcvgrade, kit, private, tmp_path):
    url = f"sqlite:///{tmp_path}/books.db"
    assert dlcvgrade("init", private, "--kit", kit, "--db-url", url)[0] == 0
    assert open_course(read_course(private)).coursedir.db_url == url


def test_update_brings_what_is_newer_and_leaves_what_was_changed(dlcvgrade, kit, made):
    specs, own = kit / "autograder/specs/a1", made / "specs/a1"
    (specs / "other.py").write_text("# one\n")
    code, out, _ = dlcvgrade("init", made, "--update")
    assert code == 0 and "new       specs/a1/other.py" in out
    (specs / "other.py").write_text("# two\n")
    (own / "toy.py").write_text("# mine\n")
    code, out, _ = dlcvgrade("init", made, "--update")
    assert code == 0 and "newer     specs/a1/other.py" in out and "1 are the course's own, 0 in conflict" in out
    assert (own / "other.py").read_text() == "# two\n" and (own / "toy.py").read_text() == "# mine\n"
    (specs / "other.py").unlink()
    assert "gone      specs/a1/other.py" in dlcvgrade("init", made, "--update")[1]
    assert not (own / "other.py").exists()


def test_conflict_is_told_until_it_is_settled(dlcvgrade, kit, made):
    theirs, own = kit / "autograder/specs/a1/toy.py", made / "specs/a1/toy.py"
    own.write_text("# mine\n")
    theirs.write_text("# theirs\n")
    for _ in range(2):
        code, out, _ = dlcvgrade("init", made, "--update")
        assert code == 1 and "conflict  specs/a1/toy.py: changed here and in the kit" in out
        assert own.read_text() == "# mine\n"
    assert dlcvgrade("init", made, "--update", "--keep", "specs/a1/toy.py")[0] == 0
    code, out, _ = dlcvgrade("init", made, "--update")
    assert code == 0 and "1 are the course's own" in out and own.read_text() == "# mine\n"
    theirs.write_text("# theirs again\n")
    assert dlcvgrade("init", made, "--update")[0] == 1


def test_keeping_what_is_in_no_conflict_does_nothing(dlcvgrade, kit, made):
    (kit / "autograder/specs/a1/toy.py").write_text("# theirs\n")
    before = (made / RECORD).read_bytes()
    code, _, err = dlcvgrade("init", made, "--update", "--keep", "specs/a1/toy.py")
    assert code == 2 and "is in no conflict" in err
    assert (made / RECORD).read_bytes() == before and "theirs" not in (made / "specs/a1/toy.py").read_text()


def test_update_writes_through_no_link(dlcvgrade, kit, made, tmp_path):
    shared = tmp_path / "shared.py"
    shared.write_bytes((made / "specs/a1/toy.py").read_bytes())
    (made / "specs/a1/toy.py").unlink()
    (made / "specs/a1/toy.py").symlink_to(shared)
    (kit / "autograder/specs/a1/toy.py").write_text("# theirs\n")
    assert dlcvgrade("init", made, "--update")[0] == 1
    assert "theirs" not in shared.read_text() and (made / "specs/a1/toy.py").is_symlink()


def test_update_refuses_the_kit_itself_a_damaged_record_and_options_of_a_new_course(dlcvgrade, kit, made):
    code, _, err = dlcvgrade("init", kit, "--update")
    assert code == 2 and "names no kit" in err
    code, _, err = dlcvgrade("init", made, "--update", "--id", "other")
    assert code == 2 and "is for a new course" in err
    (made / RECORD).write_text("{}")
    code, _, err = dlcvgrade("init", made, "--update")
    assert code == 2 and "is damaged" in err


@pytest.mark.parametrize(
    ("kit", "here", "known", "kind"),
    [
        ("a", "a", "a", "same"),
        ("b", "b", "a", "same"),
        ("a", None, None, "new"),
        ("b", "a", "a", "newer"),
        (None, "a", "a", "gone"),
        ("a", "x", "a", "own"),
        ("a", None, "a", "own"),
        ("b", "x", "a", "conflict"),
        ("b", None, "a", "conflict"),
        (None, "x", "a", "conflict"),
        ("a", "x", None, "conflict"),
        (None, None, "a", "same"),
    ],
)
def test_what_happens_to_a_copy(kit, here, known, kind):
    table = lambda value: {} if value is None else {"f": value}  # noqa: E731
    (step,) = plan(table(kit), {"f": here}, table(known))
    assert step.kind == kind


def test_build_release_import_and_grade_from_inside(dlcvgrade, knn_course, private, subset, monkeypatch, tmp_path):
    for module in ("dlcvgrade.build", "dlcvgrade.judge.material", "dlcvgrade.judge.submissions"):
        monkeypatch.setattr(f"{module}.KitRegistry", lambda: subset)
    kit = tmp_path / "kit"
    # Other tests build in the course that all share.
    shutil.copytree(knn_course.root, kit, ignore=shutil.ignore_patterns("assignments", "build", "submitted"))
    shutil.copy(CONFIG, kit)
    assert dlcvgrade("init", private, "--kit", kit)[0] == 0
    monkeypatch.chdir(private)
    assert dlcvgrade("build")[0] == 0
    assert (private / "assignments/a1/knn.ipynb").is_file() and not (kit / "assignments").exists()
    code, _, err = dlcvgrade("release", "a1", "--out", tmp_path / "release")
    assert (code, err) == (0, "")
    assert (tmp_path / "release/private-a1/kit/dlcvkit/__init__.py").is_file()
    download = tmp_path / "download"
    for student, source in (("correct", "solutions/a1"), ("untouched", "assignments/a1")):
        (download / student).mkdir(parents=True)
        shutil.copy(private / source / "knn.ipynb", download / student)
    assert dlcvgrade("import", download, "--stage", "a1", "--from", "plain")[0] == 0
    code, out, err = dlcvgrade("grade", "a1", "--no-gradebook", "--unsafe")
    assert (code, err) == (1, "")
    assert "3 of 3 right" in out and "0 of 3 right" in out
