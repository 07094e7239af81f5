"""Every gate of ``dlcvgrade mutants`` can fail, and the mutation operators do what they say."""

from __future__ import annotations

import ast
import io
import time

import pytest
import torch
from rich.console import Console

from dlcvgrade.mutants.examination import examine, examine_all
from dlcvgrade.mutants.mutation import mutations, solution_lines
from dlcvgrade.mutants.report import Gates, missed_gates
from dlcvgrade.mutants.subjects import SolvedNotebook, Subject, without_solution
from dlcvgrade.mutants.trials import Verdict, run_trials
from dlcvgrade.problems import CourseProblems
from dlcvkit.checking import Case, Function, Hidden, Mistake, given, normal

SOURCE = '''\
# %% tags=["setup"]
import torch

# %% exercise="t/double"
def double(x):
    """Return twice x."""
    ### BEGIN SOLUTION
    return 2 * x + shift(x)
    ### END SOLUTION

# %% tags=["demo"]
raise RuntimeError("a demo is not run")

# %%
def shift(x):
    return x.new_zeros(1)

# %%
raise RuntimeError("neither is what a plain cell computes")
'''


def exercise(**changes):
    fields = {
        "functions": ("double",),
        "reference": lambda x: 2 * x,
        "cases": [Case(x=normal(3, 4))],
        "points": {"out": 2},
        "mistakes": [
            Mistake("halves", lambda x: x / 2, hint="two times"),
            Mistake("adds two", lambda x: x + 2, hint="two times"),
            Mistake("squares", lambda x: x**2, hint="two times"),
            Mistake("transposes", lambda x: 2 * x.T, hint="two times"),
        ],
        "id": "t/double",
    }
    return Function(**{**fields, **changes})


def hidden(**changes):
    fields = {
        "cases": [Case("one row", x=normal(1, 4))],
        "mutants": {"triples": lambda x: 3 * x, "negates": lambda x: -2 * x},
        "solutions": {"adds": lambda x: x + x, "rounds to float32": lambda x: (2 * x).float()},
        "equivalent": {
            "double: 2 * x + shift(x) -> 2 * x - shift(x)": "zero is added or taken away",
            "double: 2 * x + shift(x) -> 2 * x": "zero is added",
        },
    }
    return Hidden(**{**fields, **changes})


def subject(spec=None, secret=None, source=SOURCE):
    return Subject(spec or exercise(), secret or hidden(), SolvedNotebook.read(source, "toy.py"))


def outcome(*subjects):
    """Return the exit code and what is printed."""
    screen = Console(file=io.StringIO(), width=200)
    code = examine_all(subjects, screen, jobs=1)
    return code, screen.file.getvalue()


def test_good_checks_meet_every_gate():
    code, text = outcome(subject())
    assert code == 0, text
    last = text.strip().splitlines()[-1]
    assert last.startswith("1 exercises: hand-written 6/6 killed, 6/6 by public checks, 6/6 named; automatic ")
    assert last.endswith("2 equivalent, 0 unexplained; all gates met")


NOISE = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TWO_MUTANTS = {"triples": lambda x: 3 * x, "negates": lambda x: -2 * x}


def unnamed(scale):
    return lambda x: 2 * x + scale * NOISE.to(x)[: len(x), :] ** 2 if x.dim() == 2 else x


GATES = {
    "too few mutants": (
        lambda: subject(exercise(mistakes=[])),
        "2 hand-written mutants; expected at least 6",
    ),
    "a mutant survives": (
        lambda: subject(secret=hidden(mutants={**TWO_MUTANTS, "is right": lambda x: x * 2})),
        "the hidden checks do not notice the mutant 'is right'",
    ),
    "a mistake survives": (
        lambda: subject(secret=hidden(mistakes=[Mistake("is no mistake", lambda x: 2 * x, hint="")])),
        "the hidden checks do not notice the mutant 'mistake: is no mistake'",
    ),
    "the public checks are weak": (
        lambda: subject(exercise(cases=[Case(x=given([[2.0]]))])),
        "the public checks notice 3 of 6 mutants; expected more than 50%",
    ),
    "mistakes are not named": (
        lambda: subject(exercise(mistakes=[]), hidden(mutants={f"noise {i}": unnamed(0.1 * i) for i in range(1, 7)})),
        "0 of 6 noticed mutants are named; expected at least 50%",
    ),
    "too few solutions": (
        lambda: subject(secret=hidden(solutions={"adds": lambda x: x + x})),
        "1 other solutions; expected at least 2",
    ),
    "another solution is rejected": (
        lambda: subject(secret=hidden(solutions={"adds": lambda x: x + x, "wrong": lambda x: x})),
        "the other solution (wrong) earns 0 of 2 points",
    ),
    "the solution is rejected": (
        lambda: subject(exercise(reference=lambda x: 2.5 * x)),
        "the solution (public checks) earns 0 of 2 points",
    ),
    "the solution fails in a hidden case": (
        lambda: subject(secret=hidden(cases=[Case("a number", x=3)])),
        "the solution (hidden checks, seed None) earns 0 of 2 points",
    ),
    "the stub earns points": (
        lambda: subject(source=SOURCE.replace("    ### BEGIN SOLUTION\n", "").replace("    ### END SOLUTION\n", "")),
        "the stub earns 2 points; expected 0",
    ),
    "an automatic mutant survives": (
        lambda: subject(secret=hidden(equivalent={})),
        "2 automatic mutants survive and are not explained",
    ),
    "an explanation is stale": (
        lambda: subject(secret=hidden(equivalent={**hidden().equivalent, "double: gone -> away": "was once"})),
        "equivalent lists 'double: gone -> away', which does not exist",
    ),
    "an explanation is false": (
        lambda: subject(
            secret=hidden(equivalent={**hidden().equivalent, "double: 2 * x -> 3 * x": "looks the same to me"})
        ),
        "equivalent lists 'double: 2 * x -> 3 * x', which is noticed",
    ),
}


@pytest.mark.parametrize("name", GATES)
def test_every_gate_can_fail(name):
    make, reason = GATES[name]
    code, text = outcome(make())
    assert code == 1
    assert f"t/double: {reason}" in text


def test_a_reference_that_fails_is_not_taken_for_noticing():
    checked = examine(subject(exercise(reference=lambda x: x.no_such_method(), mistakes=[])), jobs=1, automatic=False)
    assert checked.killed == []
    assert any("earns 0 of 2 points" in line for line in missed_gates([checked], Gates()))


def test_nothing_to_check_is_no_success():
    assert outcome()[0] == 1


def test_too_few_automatic_mutants_noticed_overall_is_told():
    text = outcome(subject(secret=hidden(equivalent={})))[1]
    assert "automatic mutants are noticed; expected 97%" in text


def test_survivors_are_listed_by_the_key_that_explains_them():
    text = outcome(subject(secret=hidden(equivalent={})))[1]
    for key in hidden().equivalent:
        assert repr(key) in text


@pytest.mark.parametrize("value", [3, (len, len), ()])
def test_a_mutant_that_is_no_function_is_refused(value):
    with pytest.raises(CourseProblems, match="'odd' of t/double"):
        examine(subject(secret=hidden(mutants={"odd": value})), jobs=1)


def test_a_mutant_that_never_ends_is_noticed():
    def loops():
        while True:
            pass

    def sleeps_in_torch():
        while True:
            torch.ones(200, 200) @ torch.ones(200, 200)

    started = time.monotonic()
    verdicts = run_trials([loops, sleeps_in_torch], jobs=2, cpu_seconds=0.3)
    assert [v.reason for v in verdicts] == ["took too long"] * 2 and all(v.is_killed for v in verdicts)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("batch", [1, 2, 3, 9])
def test_a_trial_that_dies_or_fails_costs_only_itself(batch):
    import os

    def fails():
        raise KeyError("a fault of the tool")

    right = Verdict(1.0, 1.0)
    trials = [lambda: right, lambda: os._exit(3), fails, lambda: right]
    first, died, failed, fine = run_trials(trials, jobs=1, batch=batch)
    assert first == right
    assert died.is_killed and died.reason == "died with 3"
    assert failed.could_not_check and not failed.is_killed
    assert fine == right


def test_a_trial_that_wants_all_memory_is_stopped():
    def greedy():
        torch.ones(10**10)

    (verdict,) = run_trials([greedy], jobs=1)
    assert verdict.could_not_check and "RuntimeError" in verdict.reason


def test_verdicts_come_in_the_order_of_the_trials():
    def trial(number):
        return lambda: (time.sleep(0.02 * (5 - number)), Verdict(float(number), 9.0))[1]

    assert [v.earned for v in run_trials([trial(n) for n in range(5)], jobs=3)] == [0, 1, 2, 3, 4]


# The operators, on one function each.


def keys_of(body, *, name="f"):
    source = "def f(x, y=None, k=3):\n    ### BEGIN SOLUTION\n"
    source += "".join(f"    {line}\n" for line in body.splitlines()) + "    ### END SOLUTION\n    return x\n"
    return {m.key.removeprefix(f"{name}: ") for m in mutations(ast.parse(source), solution_lines(source))}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("z = x + y", {"x + y -> x - y", "x + y -> x", "x + y -> y"}),
        ("z = x - y", {"x - y -> x + y", "x - y -> y - x"}),
        ("z = x * y", {"x * y -> x / y", "x * y -> x"}),
        ("z = x / y", {"x / y -> x * y", "x / y -> x"}),
        ("z = x @ y", {"x @ y -> x * y", "x @ y -> y @ x"}),
        ("z = x ** 2", {"x ** 2 -> x * 2", "x ** 2 -> x", "x ** 2 -> x ** 3", "x ** 2 -> x ** 1"}),
        ("z = -x", {"-x -> x"}),
        ("z = x[3]", {"x[3] -> x[4]", "x[3] -> x[2]", "x[3] -> x[0]", "x[3] -> x[-3]"}),
        ("z = x * 0.5", {"x * 0.5 -> x * 1.0", "x * 0.5 -> x * 0.25", "x * 0.5 -> x * -0.5"}),
        ("z = x[-1]", {"x[-1] -> x[0]", "x[-1] -> x[1]", "x[-1] -> x[-2]"}),
        ("z = x.sum(dim=0)", {"x.sum(dim=0) -> x.sum(dim=1)", "x.sum(dim=0) -> x.sum(dim=-1)"}),
        ("z = x.sum(dim=1)", {"x.sum(dim=1) -> x.sum(dim=0)", "x.sum(dim=1) -> x.mean(dim=1)"}),
        ("z = x.amax(1, keepdim=True)", {"x.amax(1, keepdim=True) -> x.amax(1)",
            "x.amax(1, keepdim=True) -> x.amin(1, keepdim=True)", "x.amax(1, keepdim=True) -> x.amax(1, keepdim=False)",
            "x.amax(1, keepdim=True) -> x.amax(0, keepdim=True)"}),
        ("z = x < y", {"x < y -> x <= y", "x < y -> x > y"}),
        ("z = x == y", {"x == y -> x != y"}),
        ("z = x is None", {"x is None -> x is not None"}),
        ("z = x and y", {"x and y -> x or y", "x and y -> x", "x and y -> y"}),
        ("z = not x", {"not x -> x"}),
        ("z = x.argmin()", {"x.argmin() -> x.argmax()"}),
        ("z = max(x, y)", {"max(x, y) -> min(x, y)"}),
        ("z = x.clone()", {"x.clone() -> x"}),
        ("z = torch.exp(x)", {"torch.exp(x) -> x", "torch.exp(x) -> torch.log(x)"}),
        ("z = x.T", {"z = x.T -> z = x"}),
        ("z = g(x, y)", {"g(x, y) -> g(y, x)"}),
        ("z = range(k)", {"range(k) -> range(k + 1)", "range(k) -> range(k - 1)", "range(k) -> range(1, k)"}),
        ("z = range(x, k)", {"range(x, k) -> range(x, k + 1)", "range(x, k) -> range(x + 1, k)"}),
        ("z = x[:k]", {"x[:k] -> x[:]", "x[:k] -> x[:k + 1]", "x[:k] -> x[:k - 1]"}),
        ("z = x[1:]", {"x[1:] -> x[:]", "x[1:] -> x[2:]", "x[1:] -> x[0:]"}),
        ("z = x[k, y]", {"x[k, y] -> x[y, k]"}),
        ("z = x if y else k", {"z = x if y else k -> z = x", "z = x if y else k -> z = k"}),
        ("z = [a for a in x if a]", {"z = [a for a in x if a] -> z = [a for a in x]"}),
        ("x += y", {"x += y -> x = y", "x += y -> x -= y", "x += y -> dropped"}),
        ("if y:\n    x = k", {"if y: -> dropped"}),
        ("for i in x:\n    k = i", {"k = i -> dropped", "for i in x: -> + break"}),
        ("return x", {"return x -> return -x", "return x -> dropped"}),
        ("return x, y", {"return (x, y) -> return (y, x)"}),
        ("z = True", {"z = True -> z = False"}),
    ],
)  # fmt: skip
def test_an_operator_makes_the_mistakes_it_is_for(body, expected):
    assert expected <= keys_of(body)


def test_an_if_without_its_condition_runs_always():
    assert any("if True" in key for key in keys_of("if y:\n    x = k"))


@pytest.mark.parametrize("body", ["raise ValueError('1 + 1')", "assert x + 1 > 2, 'message'", "z = f'{x + 1}'"])
def test_messages_and_guards_are_not_changed_inside(body):
    assert {key.partition(" -> ")[2] for key in keys_of(body)} <= {"dropped"}


def test_code_outside_the_solution_is_left_alone():
    source = "def f(x):\n    y = x + 1\n    ### BEGIN SOLUTION\n    z = y * 2\n    ### END SOLUTION\n    return z - 3\n"
    found = mutations(ast.parse(source), solution_lines(source))
    assert found
    for mutation in found:
        text = ast.unparse(mutation.tree)
        assert "y = x + 1" in text and "return z - 3" in text and "z = y * 2" not in text


def test_every_mutant_compiles_differs_and_has_a_key_of_its_own():
    source = (
        "def f(x, k):\n    ### BEGIN SOLUTION\n    a = x + 1\n    b = x + 1\n    for i in range(k):\n"
        "        a = a + b if i > 0 else a - b\n    return a\n    ### END SOLUTION\n"
    )
    tree = ast.parse(source)
    before = ast.unparse(tree)
    found = mutations(tree, solution_lines(source))
    texts = [ast.unparse(mutation.tree) for mutation in found]
    assert len(found) > 20
    assert before not in texts and len(set(texts)) == len(texts)
    assert len({mutation.key for mutation in found}) == len(found)
    assert {"f: x + 1 -> x - 1", "f: x + 1 -> x - 1 #2"} <= {mutation.key for mutation in found}
    assert ast.unparse(tree) == before
    for mutation in found:
        compile(mutation.tree, "mutant", "exec")


def test_keys_are_the_same_every_time():
    source = "def f(x):\n    ### BEGIN SOLUTION\n    return x + 1\n    ### END SOLUTION\n"
    runs = [[m.key for m in mutations(ast.parse(source), solution_lines(source))] for _ in range(2)]
    assert runs[0] == runs[1]


def test_methods_are_named_with_their_class():
    source = (
        "class A:\n    def f(self, x):\n        ### BEGIN SOLUTION\n        return x + 1\n        ### END SOLUTION\n"
    )
    assert "A.f: x + 1 -> x - 1" in {m.key for m in mutations(ast.parse(source), solution_lines(source))}


def test_a_stub_is_what_students_get():
    source = "def f(x):\n    y = 1\n    ### BEGIN SOLUTION\n    return x + y\n    ### END SOLUTION\n"
    assert ast.unparse(without_solution(source)) == "def f(x):\n    y = 1\n    raise NotImplementedError()"
