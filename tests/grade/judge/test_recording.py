"""A batch and the gradebook: one writer, nothing lost, nothing twice, and nbgrader's own path agrees."""

from __future__ import annotations

import json
import shutil

import pytest

from dlcvgrade import cli
from dlcvgrade.build import build, write_build
from dlcvgrade.course import read_course
from dlcvgrade.judge import batch
from dlcvgrade.judge.batch import Examiner
from dlcvgrade.judge.bookkeeping import STAMP
from dlcvgrade.judge.judged import REPORT
from dlcvgrade.judge.recording import Recorder
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.registry import KitRegistry
from dlcvgrade.session import demand, failed, open_api, open_course
from dlcvkit.checking import Quantity, Report

IDS = {
    "knn": ["a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels"],
    "linear_training": ["a1/linear_answer"],
}
CHECKS = ["check-kfold_indices", "check-knn_no_loops", "check-linear_answer", "check-predict_labels"]
ANSWER_SOURCE = """\
# %% [markdown]
# # Training

# %% tags=["setup"]
from dlcvkit import check

# %% check="a1/linear_answer"
check("a1/linear_answer", "linear_weights.safetensors")

# %%
check.summary()
"""
ANSWER_SPEC = "from dlcvkit.checking import Hidden\n\nlinear_answer = Hidden()\n"
IN_TIME, LATE = "2027-02-01 12:00:00 UTC", "2027-02-07 12:00:00 UTC"


class Class:
    """A course of two notebooks in a folder of its own, with three students; one hands in the answer's file only."""

    def __init__(self, original, root):
        shutil.copytree(original, root, ignore=shutil.ignore_patterns("submitted", "autograded", "*.db", "build"))
        toml = (root / "course.toml").read_text()
        (root / "course.toml").write_text(toml.replace('["knn"]', '["knn", "linear_training"]'))
        (root / "solutions/a1/linear_training.py").write_text(ANSWER_SOURCE)
        (root / "autograder/specs/a1/linear_training.py").write_text(ANSWER_SPEC)
        self.root, self.course = root, read_course(root)
        built = build(self.course)
        write_build(self.course, built)
        self.api = open_api(self.course, root)
        demand(self.api.generate_assignment, "a1")
        for student in ("correct", "loses-one", "only-the-file"):
            self.hand_in(built, student)

    def hand_in(self, built, student):
        folder = self.root / "submitted" / student / "a1"
        folder.mkdir(parents=True)
        (folder / "timestamp.txt").write_text(LATE if student == "only-the-file" else IN_TIME)
        (folder / "linear_weights.safetensors").write_text("weights")
        solved = {path.stem: read_notebook(content) for path, content in built.solved.items()}
        sources = {cell.id: without_markers(cell.source) for cell in solved["knn"].cells}
        for path, content in built.released.items():
            notebook = read_notebook(content)
            for cell in notebook.cells:
                if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
                    cell.source = (
                        "x = 1" if student == "loses-one" and cell.id == "predict_labels" else sources[cell.id]
                    )
            if student != "only-the-file" or path.stem == "knn":
                (folder / path.name).write_bytes(notebook_bytes(notebook))

    def gradebook(self):
        """Return (student, grade id) to (automatic, manual score, whether somebody has to look), and penalties."""
        grades, penalties = {}, {}
        with self.api.gradebook as gradebook:
            for submission in gradebook.assignment_submissions("a1"):
                for notebook in submission.notebooks:
                    key = (submission.student_id, notebook.name)
                    penalties[key] = notebook.late_submission_penalty or 0.0
                    for grade in notebook.grades:
                        if grade.name.startswith("check-"):
                            told = (grade.auto_score, grade.manual_score, grade.needs_manual_grade)
                            grades[submission.student_id, grade.name] = told
        return grades, penalties

    def files(self):
        """Return every result and autograded notebook with inode and content."""
        paths = [*self.root.glob("results/a1/*"), *self.root.glob("autograded/*/a1/*.ipynb")]
        return {path.relative_to(self.root).as_posix(): (path.stat().st_ino, path.read_bytes()) for path in paths}

    def points(self, student):
        grades, _ = self.gradebook()
        return [grades[student, check][0] for check in CHECKS]


@pytest.fixture(scope="module")
def generated(knn_course, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KitRegistry, "ids", lambda self, stage, notebook: IDS[notebook])
        return Class(knn_course.root, tmp_path_factory.mktemp("recording") / "course")


@pytest.fixture
def course(generated, tmp_path, monkeypatch):
    """A course that has been generated and not graded. A saved answer is right if there is a file, without training."""
    monkeypatch.setattr(KitRegistry, "ids", lambda self, stage, notebook: IDS[notebook])

    def judge_answer(exercise, path, seed):
        if not path.exists():
            return batch.failed(exercise, "missing", "is not there")
        right = [Quantity(name, float(points)) for name, points in exercise.points.items()]
        return batch.Verdict(Report(exercise.id, right, is_hidden=True), "pass")

    monkeypatch.setattr(batch, "judge_answer", judge_answer)
    shutil.copytree(generated.root, tmp_path / "course")
    made = object.__new__(Class)
    made.root, made.course = tmp_path / "course", read_course(tmp_path / "course")
    made.api = open_api(made.course, made.root)
    return made


@pytest.fixture
def grade(course, monkeypatch, capsys):
    """A function that runs ``dlcvgrade grade a1`` on the course and returns exit code and what was printed."""

    def grade(*more):
        monkeypatch.setattr("sys.argv", ["dlcvgrade", "grade", "a1", "--course", str(course.root), *more])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, capsys.readouterr()

    return grade


def test_a_batch_writes_points_reports_and_penalties_and_does_nothing_twice(course, grade):
    code, told = grade("--jobs", "2")
    assert code == 1, told
    assert course.points("correct") == [4.0, 4.0, 5.0, 4.0]
    assert course.points("loses-one") == [4.0, 4.0, 5.0, 0.0]
    assert course.points("only-the-file") == [4.0, 4.0, 5.0, 4.0]
    grades, penalties = course.gradebook()
    assert all(told == (told[0], None, False) for told in grades.values())
    assert penalties["correct", "knn"] == 0.0
    assert penalties["only-the-file", "knn"] == pytest.approx(0.2 * 14)
    assert penalties["only-the-file", "linear_training"] == pytest.approx(0.2 * 5)
    notebook = read_notebook((course.root / "autograded/loses-one/a1/knn.ipynb").read_bytes())
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {output.data[REPORT]["verdict"] for output in outputs} == {"pass", "missing"}
    result = json.loads((course.root / "results/a1/loses-one.json").read_text())
    assert notebook.metadata[STAMP] == {"seed": result["seed"], "hashes": result["hashes"]}
    before = course.files()
    assert len(before) == 3 + 5
    code, told = grade("--jobs", "2")
    assert code == 1
    assert "3 of 3 submissions were graded before" in told.out
    assert "0 written" in told.out
    assert course.files() == before
    assert course.gradebook() == (grades, penalties)


def test_nbgraders_own_autograde_gives_the_same_in_one_sitting(course, grade, monkeypatch):
    assert grade()[0] == 1
    expected = course.gradebook()
    seeds = {}

    def grade_one(self, submission, worker, grade=Examiner.grade_one):
        graded = grade(self, submission, worker)
        seeds.setdefault(submission.student, []).append(graded.seed)
        return graded

    monkeypatch.setattr(Examiner, "grade_one", grade_one)
    for student in ("correct", "loses-one", "only-the-file"):
        assert failed(course.api.autograde, "a1", student) is None
    assert course.gradebook() == expected
    assert {student: len(drawn) for student, drawn in seeds.items()} == dict.fromkeys(seeds, 1)
    assert len(seeds) == 3


def test_what_the_gradebook_lost_is_written_again_without_grading(course, grade):
    grade()
    expected, before = course.gradebook(), course.files()
    shutil.rmtree(course.root / "autograded/correct")
    with course.api.gradebook as gradebook:
        gradebook.find_grade("check-predict_labels", "knn", "a1", "loses-one").auto_score = 4.0
        gradebook.db.commit()
    (course.root / "submitted/only-the-file/a1/timestamp.txt").write_text(IN_TIME)
    code, told = grade()
    assert code == 1
    assert "3 of 3 submissions were graded before" in told.out
    assert "3 written" in told.out
    after = course.files()
    assert {name: told for name, told in after.items() if name.startswith("results")} == {
        name: told for name, told in before.items() if name.startswith("results")
    }
    assert course.gradebook()[0] == expected[0]
    assert set(course.gradebook()[1].values()) == {0.0}


def test_points_given_by_hand_survive_a_regrade(course, grade):
    grade()
    with course.api.gradebook as gradebook:
        gradebook.find_grade("check-predict_labels", "knn", "a1", "only-the-file").manual_score = 1.5
        gradebook.db.commit()
    before = course.files()
    code, told = grade("--regrade", "only-the-file")
    assert code == 1
    assert "1 written" in told.out
    changed = {name for name, told in course.files().items() if told != before[name]}
    assert changed == {"results/a1/only-the-file.json", "autograded/only-the-file/a1/knn.ipynb"}
    grades, _ = course.gradebook()
    assert grades["only-the-file", "check-predict_labels"] == (4.0, 1.5, True)


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_batch_that_dies_between_result_and_gradebook_ends_up_the_same(course, grade, monkeypatch, written):
    calls = []

    def record(self, submission, result, record=Recorder.record):
        if len(calls) == written:
            raise SystemExit(9)
        calls.append(submission.student)
        return record(self, submission, result)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record", record)
        assert grade()[0] == 9
    done = {name: told for name, told in course.files().items() if name.startswith("results")}
    assert len(done) > written
    code, told = grade()
    assert code == 1, told
    assert done.items() <= course.files().items()
    assert f"{3 - written} written" in told.out
    assert course.points("correct") == [4.0, 4.0, 5.0, 4.0]
    assert course.points("loses-one") == [4.0, 4.0, 5.0, 0.0]


def test_who_cannot_be_written_down_is_named_and_costs_nobody_else(course, grade):
    (course.root / "submitted/correct/a1/timestamp.txt").write_text("some time last week")
    code, told = grade()
    assert code == 2
    (line,) = told.err.strip().splitlines()
    assert line.startswith("dlcvgrade: correct could not be written into the gradebook")
    assert course.points("loses-one") == [4.0, 4.0, 5.0, 0.0]


def test_the_gradebook_is_written_by_rule(course, grade, tmp_path):
    before = (course.root / "gradebook.db").read_bytes()
    assert grade("--no-gradebook")[0] == 1
    assert grade(str(course.root / "submitted" / "correct" / "a1" / "knn.ipynb"))[0] == 0
    code, told = grade("--gradebook", str(course.root / "submitted" / "correct"))
    assert code == 2
    assert "give no other path" in told.err
    assert (course.root / "gradebook.db").read_bytes() == before
    (course.root / "gradebook.db").unlink()
    assert grade()[0] == 1
    code, told = grade("--gradebook")
    assert code == 2
    assert "run nbgrader generate_assignment a1" in told.err
    assert not (course.root / "gradebook.db").exists()
    assert not (course.root / "results").exists()


def test_a_gradebook_of_another_course_is_refused_before_anything_is_graded(course, grade, monkeypatch):
    ids = {**IDS, "knn": IDS["knn"][:2]}
    source = course.root / "solutions/a1/knn.py"
    start = source.read_text().index('# %% exercise="a1/predict_labels"')
    source.write_text(source.read_text()[:start])
    monkeypatch.setattr(KitRegistry, "ids", lambda self, stage, notebook: ids[notebook])
    code, told = grade()
    assert code == 2
    assert "are not the course's" in told.err
    assert not (course.root / "results").exists()


def test_the_gradebooks_address_is_the_courses_own(course):
    (course.root / "nbgrader_config.py").write_text(
        "from pathlib import Path\nfrom dlcvgrade.course import read_course\nfrom dlcvgrade.settings import configure\n"
        "configure(get_config(), read_course(Path(__file__).resolve().parent))\n"
        "get_config().CourseDirectory.db_url = 'postgresql+psycopg://grader@localhost/dlcv'\n"
    )
    assert open_course(course.course).coursedir.db_url == "postgresql+psycopg://grader@localhost/dlcv"
