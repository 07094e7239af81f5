"""Reports: their wording, their three forms, and what a hidden one must not tell."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

import dlcvkit.checking
from dlcvkit.checking import (
    Case,
    Function,
    Hidden,
    Invariant,
    LossWithGradient,
    Mistake,
    Speed,
    Summary,
    as_html,
    as_json,
    as_text,
    check_functions,
    labels,
    normal,
)
from dlcvkit.checking import session as session_module
from dlcvkit.checking.session import Check, hidden_check, points


def exercise(**changes):
    fields = {
        "functions": ("double",),
        "reference": lambda x: 2 * x,
        "cases": [Case("small", x=normal(3, 4))],
        "points": {"out": 2},
        "id": "t/double",
    }
    return Function(**{**fields, **changes})


LOSS = LossWithGradient(
    functions=("loss",),
    reference=lambda W, X, y, reg: (X @ W)[torch.arange(len(y)), y].square().mean() + reg * W.square().sum(),
    cases=[Case("small", W=normal(4, 3), X=normal(5, 4), y=labels(5, 3), reg=0.3)],
    points={"loss": 1, "dW": 2.5},
    id="t/loss",
)


def reference_loss(W, X, y, reg, wrong=1.0):
    values = LOSS.expect(LOSS.reference, {"W": W, "X": X, "y": y, "reg": reg})
    return values["loss"], wrong * values["dW"]


def test_a_failed_quantity_reads_in_three_lines():
    report = check_functions(LOSS, [lambda W, X, y, reg: reference_loss(W, X, y, reg, wrong=5.0)])
    first = report.findings[0].first
    assert as_text(report).splitlines() == [
        "t/loss   1 / 3.5",
        "  pass  1/1  loss  exact",
        "  FAIL  0/2.5  dW    differs from the reference in 12 of 12 entries; "
        "it is exactly 5 times the expected value; 5 is size 0 of X [small]",
        f"                     first: {first}",
        "                     hint: look at what you divide or multiply by, and how often",
    ]
    assert re.fullmatch(r"dW\[0, 0\] is -?[\d.]+; expected -?[\d.]+", first)


def test_a_known_mistake_is_told_as_likely():
    known = exercise(mistakes=[Mistake("forgets to double", lambda x: x * 1, hint="read the task again")])
    text = as_text(check_functions(known, [lambda x: x * 1]))
    assert "likely: forgets to double" in text and "hint: read the task again" in text


def test_a_problem_is_told_once_and_not_per_quantity():
    def stub(W, X, y, reg):
        raise NotImplementedError

    report = check_functions(LOSS, [stub])
    text = as_text(report)
    assert text.count("loss is not written yet") == 1
    assert text.splitlines()[0] == "t/loss   0 / 3.5"
    assert "<code></code>" not in as_html(report)


def raises_script(x):
    raise ValueError("<script>alert('x')</script>")


def test_html_is_escaped():
    report = check_functions(exercise(), [raises_script])
    html = as_html(report)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "&lt;script&gt;" in report._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize("name", ["id", "case", "mistake", "hint", "note"])
def test_every_part_of_the_html_is_escaped(name):
    evil = "<b onclick=1>"
    spec = exercise(
        cases=[Case(evil if name == "case" else "c", x=normal(3, 4))],
        mistakes=[
            Mistake(evil if name == "mistake" else "m", lambda x: x * 1, hint=evil if name == "hint" else "h"),
        ],
        id=evil if name == "id" else "t/double",
    )
    report = check_functions(spec, [lambda x: x * 1])
    if name == "note":
        report = type(report)(report.exercise, report.quantities, None, [evil])
    assert evil not in as_html(report) and "&lt;b onclick=1&gt;" in as_html(report)


def test_json_has_what_programs_need():
    data = as_json(check_functions(exercise(), [lambda x: x * 4]))
    assert (data["verdict"], data["earned"], data["possible"], data["hidden"]) == ("wrong", 0.0, 2.0, False)
    assert data["quantities"][0]["ok"] is False and data["diagnosis"] == "it is exactly 2 times the expected value"


ANSWERS = {
    "noise": lambda x: x + torch.arange(float(x.numel())).reshape(x.shape).to(x.dtype).sin(),
    "factor": lambda x: 0.7372 * x,
    "by an input's size": lambda x: len(x) * 2 * x,
    "multiple of the input": lambda x: 2.6183 * x,
    "offset": lambda x: 2 * x + float(x.sum()),
    "nan": lambda x: x / (x - x.flatten()[0]),
    "shape": lambda x: 2 * x[:, :1],
    "list": lambda x: (2 * x).tolist(),
    "raises": lambda x: (_ for _ in ()).throw(ValueError(f"got {x.tolist()}")),
    "raises a key": lambda x: {}[float(x.flatten()[0])],
    "string": lambda x: str(x.tolist()),
    "rows": lambda x: torch.cat([2 * x[:1], x[1:]]),
}


def hidden_outputs(report):
    bundle = report._repr_mimebundle_()
    return "\n".join([as_text(report), as_html(report), str(as_json(report)), *map(str, bundle.values())])


def numbers_in(values):
    """Return the values as a report would write them, without sign, and with enough digits to mean something."""
    texts = {f"{abs(v):.4g}" for v in values} | {f"{abs(v):.6f}"[:6] for v in values}
    return {text for text in texts if len(text.replace(".", "").lstrip("0")) >= 4}


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=12, deadline=None, derandomize=True)
@hypothesis_given(seed=st.integers(0, 2**31))
def test_a_hidden_report_shows_no_number_of_inputs_or_results(name, seed):
    case = Case("wide", x=normal(3, 5, mean=50, std=20))
    hidden = exercise().with_hidden([case], [])
    wide_only = lambda x: ANSWERS[name](x) if x.shape[1] == 5 else 2 * x  # noqa: E731
    report = check_functions(hidden, [wide_only], seed=seed)
    assert report.earned == 0 and report.is_hidden
    x = case.build(seed + 7919)["x"]
    secret = numbers_in([*x.flatten().tolist(), *(2 * x).flatten().tolist()])
    assert secret
    output = hidden_outputs(report)
    assert not {number for number in secret if number in output}


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_the_property_test_above_would_notice_a_value(seed):
    case = Case("wide", x=normal(3, 5, mean=50, std=20))
    public = check_functions(exercise(cases=[case]), [ANSWERS["noise"]], seed=seed)
    x = case.build(seed)["x"]
    secret = numbers_in([*x.flatten().tolist(), *(2 * x).flatten().tolist()])
    assert {number for number in secret if number in hidden_outputs(public)}


def test_a_hidden_report_names_case_and_hint():
    hidden = exercise().with_hidden([Case("one row", x=normal(1, 4))], [Mistake("keeps x", lambda x: x * 1, hint="h")])
    text = as_text(check_functions(hidden, [lambda x: 2 * x if len(x) > 1 else x * 1]))
    assert "fails in a hidden case (one row)" in text and "likely: keeps x" in text and "hint: h" in text


def test_a_hidden_property_shows_no_values():
    spec = Invariant(
        functions=("f",), cases=[Case(n=5)], points={"size": 1}, id="t/f",
        properties={"size": lambda result, n: None if result == n else f"is {result}; expected {n}"},
    )  # fmt: skip
    report = check_functions(spec.with_hidden([Case("large", n=918273)]), [lambda n: n if n < 10 else 11235])
    assert not any(number in hidden_outputs(report) for number in ("918273", "11235"))


def loop_double(x):
    rows = [2 * row for row in x for _ in range(50)]
    return torch.stack(rows[::50])


SPEED = Speed(lambda x: [2 * e for row in x for e in row], factor=5, case=Case(x=normal(60, 60)))


def test_a_slow_function_is_told_so_and_loses_nothing():
    report = check_functions(exercise(speed=SPEED), [loop_double])
    assert report.earned == 2 and report.verdict == "pass"
    assert len(report.notes) == 1 and "expected a speed-up of at least 5" in report.notes[0]
    assert "note" in as_text(report)


def test_a_fast_function_is_told_nothing():
    assert list(check_functions(exercise(speed=SPEED), [lambda x: 2 * x]).notes) == []


def test_a_wrong_function_is_not_timed():
    assert list(check_functions(exercise(speed=SPEED), [lambda x: 3 * x]).notes) == []


def test_a_summary_counts_the_last_report_of_each_exercise():
    reports = [check_functions(exercise(), [lambda x: 2 * x]), check_functions(LOSS, [raises_script])]
    summary = Summary(reports)
    assert (summary.earned, summary.possible) == (2.0, 5.5)
    assert str(summary).splitlines() == [
        "checked so far   2 / 5.5",
        "  t/double      2/2  pass",
        "  t/loss      0/3.5  error",
    ]
    assert "t/double" in summary._repr_html_()
    assert str(Summary([])) == "nothing has been checked in this session yet"


@pytest.fixture
def known_exercise(monkeypatch):
    monkeypatch.setattr(session_module, "find_exercise", lambda _: exercise())
    monkeypatch.setattr(
        session_module, "hidden_exercise", lambda _: exercise().with_hidden([Case("row", x=normal(1, 4))])
    )


@pytest.mark.parametrize(("function", "earned"), [(lambda x: 2 * x, 2.0), (lambda x: x, 0.0), (None, 0.0)])
def test_check_returns_a_python_float_and_prints_to_stdout_only(known_exercise, capsys, function, earned):
    for value in (Check()("t/double", function), hidden_check("t/double", function)):
        assert type(value) is float and value == earned
    printed = capsys.readouterr()
    assert printed.err == "" and printed.out.count("t/double") == 2


def test_checks_remember_the_last_report(known_exercise, capsys):
    check = Check()
    check("t/double", lambda x: x)
    check("t/double", lambda x: 2 * x)
    assert check.summary().earned == 2.0


def test_points_are_finite_and_clamped():
    report = check_functions(exercise(points={"out": float("inf")}), [lambda x: 2 * x])
    assert points(report) == 0.0


def test_public_names_exist_and_are_sorted():
    assert dlcvkit.checking.__all__ == sorted(
        dlcvkit.checking.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n)
    )
    assert all(hasattr(dlcvkit.checking, name) for name in dlcvkit.checking.__all__)
    public = {
        name
        for name, value in vars(dlcvkit.checking).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("dlcvkit") and name != "annotations"
    }
    assert public <= set(dlcvkit.checking.__all__)


EVERY_MODULE = """
import importlib, pkgutil, sys
import dlcvkit
for info in pkgutil.walk_packages(dlcvkit.__path__, "dlcvkit."):
    if not info.name.endswith("__main__"):
        importlib.import_module(info.name)
print(sorted(name for name in sys.modules if name.startswith(("dlcvgrade", "nbgrader"))))
"""


def test_the_student_package_never_imports_the_instructors():
    run = subprocess.run([sys.executable, "-c", EVERY_MODULE], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_an_exercise_without_cases_or_points_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        exercise(cases=[])
    with pytest.raises(ValueError, match="at least one case"):
        exercise(points={})


def test_hidden_defaults_to_nothing():
    assert (Hidden().cases, Hidden().mutants, Hidden().equivalent) == ((), {}, {})
