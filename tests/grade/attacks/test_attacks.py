"""Every attack of the corpus is tried on our own grader; and what looks for its effects is tried as well."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dlcvgrade.attacks.corpus import CODE, Entry, families, read_corpus
from dlcvgrade.problems import CourseProblems

CORPUS = read_corpus(Path(__file__).parent)
FAMILIES = """denial environment files gradebook helpers ipython leaks notebook numbers objects shortcuts viewers"""
QUIET = next(entry for entry in CORPUS if entry.name == "returns_nan")


def marked(entry):
    return pytest.param(entry, id=f"{entry.family}-{entry.name}", marks=[pytest.mark.slow] if entry.is_slow else [])


def test_corpus_holds_every_family():
    assert families(CORPUS) == FAMILIES.split()
    assert len(CORPUS) >= 80


@pytest.mark.parametrize("entry", [marked(entry) for entry in CORPUS])
def test_attack_gains_nothing_and_changes_nothing(ground, entry):
    assert entry.target, "an attack that aims at nothing checks nothing"
    trial = ground.try_entry(entry)
    assert trial.problems == ()
    assert trial.gained == 0


def test_attack_that_is_right_is_a_gain(ground):
    right = "def predict_labels(dists, y_train, k):\n    return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values"
    trial = ground.try_entry(replace(QUIET, cells={"predict_labels": right}))
    assert trial.gained == 4.0
    assert any("earned 4 points" in problem for problem in trial.problems)


def test_look_that_sees_something_is_a_gain(ground):
    seen = _written("look = \"return os.path.exists('/usr')\"")
    assert ground.try_entry(seen).gained == 4.0


def test_cost_to_another_exercise_is_noticed(ground):
    trial = ground.try_entry(replace(QUIET, cells={**QUIET.cells, "kfold_indices": "x = 1"}))
    assert [problem for problem in trial.problems if problem.startswith("a1/kfold_indices is missing")]


def test_another_verdict_than_said_is_noticed(ground):
    assert ground.try_entry(replace(QUIET, verdict=("crash",))).problems


def test_attack_that_fails_by_its_own_mistake_is_noticed(ground):
    broken = {"predict_labels": "def predict_labels(dists, y_train, k):\n    return ox.kill(1, 9)"}
    trial = ground.try_entry(replace(QUIET, cells=broken, verdict=("error",)))
    assert trial.problems == ("a1/predict_labels raised NameError: what it tries has not been tried",)


def test_secret_that_gets_out_is_noticed(ground, monkeypatch):
    monkeypatch.setattr("dlcvgrade.attacks.trial.SECRET", "a1/predict_labels")
    assert "the result carries out what is secret" in ground.try_entry(QUIET).problems


@pytest.fixture
def meddle(ground, monkeypatch):
    """Return a function that has something done while the attack is graded, as if the attack had done it."""

    def meddle(act):
        grade = ground.grade

        def meddled(submission, wall):
            if submission.student == QUIET.student:
                act(submission)
            return grade(submission, wall)

        monkeypatch.setattr(ground, "grade", meddled)
        return ground.try_entry(QUIET)

    return meddle


def test_neighbour_whose_result_changes_is_noticed(ground, monkeypatch):
    grade = ground.grade

    def other_seed(submission, wall):
        graded = grade(submission, wall)
        return graded if submission.student == QUIET.student else replace(graded, seed=graded.seed + 1)

    monkeypatch.setattr(ground, "grade", other_seed)
    assert ground.try_entry(QUIET).problems == ("the neighbour's result changed",)


def test_neighbour_notices_what_is_left_in_the_sandbox(ground, monkeypatch):
    """The sweep of the sandbox is what an attack would have to get around."""
    leaves = "def compute_distances_no_loops(x_train, x_test):\n    open('/tmp/left', 'w').close()\n    return 1"
    nosy = replace(QUIET, cells={**QUIET.cells, "compute_distances_no_loops": leaves})
    text = next(cell for cell in _neighbour_cells(ground) if "listdir" in cell)
    finds = text.replace('([], ["home"])', '(["never"],)')
    assert finds != text
    assert ground.try_entry(replace(nosy, cells={"predict_labels": finds}, verdict=("error",))).problems == ()


def _neighbour_cells(ground):
    from dlcvgrade.notebooks import read_notebook

    path = ground.course.root / "submitted" / "neighbour" / "a1" / "knn.ipynb"
    return [cell.source for cell in read_notebook(path.read_bytes()).cells]


def test_gradebook_that_changes_is_noticed(ground, meddle):
    path = ground.course.root / "gradebook.db"
    kept = path.read_bytes()
    trial = meddle(lambda submission: path.write_bytes(kept + b"x"))
    path.write_bytes(kept)
    assert [problem for problem in trial.problems if "gradebook.db" in problem]


def test_file_that_is_left_is_noticed(ground, meddle):
    left = ground.course.root / "IMPORTED"
    trial = meddle(lambda submission: left.touch())
    left.unlink()
    assert [problem for problem in trial.problems if "IMPORTED" in problem]


def test_submission_that_changes_is_noticed(meddle):
    trial = meddle(lambda submission: (submission.folder / "more").touch())
    assert "the submission's files changed" in trial.problems


def test_process_that_is_left_is_noticed(meddle, monkeypatch):
    monkeypatch.setattr("dlcvgrade.attacks.trial._LINGER_SECONDS", 0.2)
    left = []
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    trial = meddle(lambda submission: left.append(subprocess.Popen(command)))
    left[0].kill()
    left[0].wait()
    assert [problem for problem in trial.problems if "processes; expected" in problem]


def _written(line: str) -> Entry:
    from dlcvgrade.attacks.corpus import _entry, tomllib

    return _entry("x", "y", tomllib.loads(f'tries = "x"\n{line}'), None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no corpus"),
        ("[x]\nbody = 'WRONG'", "does not say what it tries"),
        ("[x]\ntries = 'x'\nverdikt = 'wrong'", "unknown key 'verdikt'"),
        ("[x]\ntries = 'x'\nchange = 'gone'", "changes.py does not define"),
        ("[x]\ntries = 'x'\nwall = 'long'", "wall is 'long'"),
        ("[x]\ntries = 'x'\nlook = '1'\nbody = '2'", "more than one of"),
        ("x = 1", "is no table"),
        ("[x", "is no valid TOML"),
    ],
)
def test_corpus_that_makes_no_sense_is_refused(tmp_path, text, told):
    if text:
        (tmp_path / "family.toml").write_text(text)
    with pytest.raises(CourseProblems, match=told):
        read_corpus(tmp_path)


def test_two_entries_of_one_name_are_refused(tmp_path):
    for family in ("a", "b"):
        (tmp_path / f"{family}.toml").write_text("[x]\ntries = 'x'\nbody = 'WRONG'")
    with pytest.raises(CourseProblems, match=r"a\.toml has one of that name"):
        read_corpus(tmp_path)


def test_attack_aims_at_points_and_a_control_at_none():
    assert _written("verdict = 'wrong'").target == ("a1/predict_labels",)
    assert _written("verdict = 'wrong'\ntarget = 'all'").target == CODE
    assert _written("body = 'RIGHT'").target == ()
