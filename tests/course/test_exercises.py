"""Every exercise of every stage: its checks accept what is right, refuse what is wrong, and answer at once."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from dlcvgrade.cells import read_cells
from dlcvgrade.course import read_course
from dlcvgrade.mutants.examination import examine
from dlcvgrade.mutants.report import Gates, missed_gates
from dlcvgrade.mutants.subjects import Subject, subjects
from dlcvgrade.mutants.trials import check_trial
from dlcvkit.checking import ComparedExercise, SavedAnswer, check_functions, exercises_of, stages
from dlcvkit.checking.exercise import compare_tree

ROOT = Path(__file__).parents[2]
IDS = [exercise for stage in stages() for exercise in exercises_of(stage)]
LATENCY = 0.2


@cache
def subject_of(exercise: str) -> Subject:
    (subject,) = subjects(read_course(ROOT), exercise.partition("/")[0], exercise)
    return subject


@cache
def namespace_of(exercise: str) -> dict[str, object]:
    return subject_of(exercise).notebook.namespace()


def solution_of(exercise: str) -> tuple[object, ...]:
    subject = subject_of(exercise)
    if isinstance(subject.exercise, SavedAnswer):
        first = next(iter(subject.hidden.solutions.values()))
        return first if isinstance(first, tuple) else (first,)
    return subject.solution(namespace_of(exercise))


def test_there_are_exercises():
    assert len(IDS) >= 5


def test_every_stage_of_the_course_is_covered():
    assert {stage.name for stage in read_course(ROOT).stages} <= {exercise.partition("/")[0] for exercise in IDS}


@pytest.mark.parametrize("exercise", IDS)
def test_the_gates_that_need_no_automatic_mutants_are_met(exercise):
    """The solution and others earn all, the stub nothing; hand-written mutants are noticed and named."""
    checked = examine(subject_of(exercise), jobs=2, automatic=False)
    assert checked.mutants and checked.others
    assert missed_gates([checked], Gates()) == []


@pytest.mark.parametrize("seed", [11, 12, 13])
@pytest.mark.parametrize("exercise", IDS)
def test_the_solution_earns_all_points_whatever_the_seed(exercise, seed):
    verdict = check_trial(subject_of(exercise).with_hidden, solution_of(exercise), seed)
    assert verdict.earned == verdict.possible > 0, verdict.reason


@pytest.mark.parametrize("exercise", IDS)
def test_it_is_run_by_a_protocol_of_the_kit(exercise):
    """A sandboxed worker has the kit's protocols and ``call`` functions, and no class of an exercise's own."""
    assert type(subject_of(exercise).exercise).__module__.startswith("dlcvkit.checking.")


@pytest.mark.parametrize("exercise", IDS)
def test_hidden_checks_try_more_than_the_public_ones(exercise):
    assert subject_of(exercise).hidden.cases


def own_seconds(exercise: str) -> float:
    """Return the processor time that the solution itself takes for the calls that one public check makes of it."""
    spec = subject_of(exercise).exercise
    cases = [*spec.cases, spec.cases[0]]  # the first is run twice, the second time under another random state
    built = [case.build(0) for case in cases]
    start = time.process_time()
    for inputs in built:
        spec.run(solution_of(exercise), inputs)
    return time.process_time() - start


@pytest.mark.parametrize("exercise", IDS)
def test_a_public_check_answers_at_once(exercise):
    """The median of 20 is at most 0.2 s beyond the function's own time, on a processor of its own; three tries."""
    spec, functions = subject_of(exercise).exercise, solution_of(exercise)
    medians = []
    for _ in range(3):
        extra = []
        for _ in range(20):
            own = own_seconds(exercise)
            start = time.process_time()
            check_functions(spec, functions)
            extra.append(time.process_time() - start - own)
        medians.append(statistics.median(extra))
        if medians[-1] <= LATENCY:
            return
    pytest.fail(f"a check of {exercise} takes {min(medians):.3f} s beyond the function's own time")


@pytest.mark.slow
@pytest.mark.parametrize("exercise", IDS)
def test_all_gates_are_met(exercise):
    checked = examine(subject_of(exercise), jobs=2)
    assert isinstance(subject_of(exercise).exercise, SavedAnswer) or checked.automatic
    assert missed_gates([checked], Gates()) == []


@pytest.mark.parametrize("stage", stages())
def test_exercises_come_in_the_order_of_their_notebooks(stage):
    listed: dict[str, list[str]] = {}
    for name, exercise in exercises_of(stage).items():
        listed.setdefault(exercise.notebook, []).append(name)
    for notebook, names in listed.items():
        source = ROOT / "solutions" / stage / f"{notebook}.py"
        cells, _ = read_cells(source.read_text(encoding="utf-8"), source.name)
        assert names == [cell.metadata["check"] for cell in cells if "check" in cell.metadata], f"{stage}/{notebook}"


@pytest.mark.parametrize("stage", stages())
def test_references_do_not_disturb_each_other_in_threads(stage):
    exercises = [each for each in exercises_of(stage).values() if isinstance(each, ComparedExercise)]

    def expected(exercise):
        return [exercise.expect(exercise.reference, case.build(seed)) for seed in range(2) for case in exercise.cases]

    for exercise in exercises:
        alone = expected(exercise)
        with ThreadPoolExecutor(4) as pool:
            for together in pool.map(expected, [exercise] * 4):
                finding, _ = compare_tree(exercise.id, together, alone, None)
                assert finding is None, f"{exercise.id}: {finding}"
