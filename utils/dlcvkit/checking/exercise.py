"""What an exercise is: data, one small torch reference, and a protocol that says how the two meet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from dlcvkit.checking import messages
from dlcvkit.checking.cases import Case
from dlcvkit.checking.compare import compare_leaf, rounding_floor
from dlcvkit.checking.diagnose import diagnose
from dlcvkit.checking.findings import Finding, Kind
from dlcvkit.checking.interrupted import Interrupted
from dlcvkit.checking.values import is_dense, kind_of

Functions = Sequence[Callable[..., Any]]
Inputs = dict[str, Any]
Outcome = tuple[Finding | None, float | None]
"""What was found for one quantity in one case, and its scaled error where values were compared."""


@dataclass(frozen=True)
class Mistake:
    """A known wrong variant, and the hint that it deserves.

    Attributes:
        name: The mistake in a few words, such as "leaves the bias out"; shown to students.
        variant: Called like the exercise's reference; returns what a student who made this mistake would return.
        hint: One line that says where to look, not what to type.
    """

    name: str
    variant: Callable[..., Any]
    hint: str


@dataclass(frozen=True)
class Speed:
    """How much faster a vectorised function must be than the loop version.

    Attributes:
        loop: The loop version, called with the same inputs.
        factor: Speed-up asked for.
        case: Inputs that both are timed on.
    """

    loop: Callable[..., Any]
    factor: float
    case: Case


@dataclass(frozen=True, kw_only=True)
class Exercise(ABC):
    """The graded unit. Its subclasses are the protocols.

    A protocol has two halves. ``run`` is executed where the student's code is and returns whatever came out of it;
    ``judge`` is executed where the reference is and compares. Only inputs and results pass between the two.

    Attributes:
        functions: Names of the functions or classes that the student writes, in the order in which they are passed.
        cases: Inputs it is tried on.
        points: Quantity name to points, in the order of the results.
        mistakes: Known mistakes, tried in order when an answer is wrong.
        forbidden: Operations that may not be used; see ``dlcvkit.checking.watching``.
        is_loop_free: Whether Python loops are against the rules.
        uses_global_random_state: Whether the result may depend on the global random state.
        speed: The speed-up to remark on, if any.
        call: Calls the functions in a way of its own: ``call(functions, **inputs)``; None calls the only function with
            the inputs in order.
        tolerance: Allowed scaled error where the dtype's own is too tight.
        id: ``stage/name``; set by the registry.
        notebook: Topic of the notebook it belongs to; set by the registry.
        is_hidden: Whether hidden cases are among the cases.
    """

    functions: tuple[str, ...]
    cases: Sequence[Case]
    points: Mapping[str, float]
    mistakes: Sequence[Mistake] = ()
    forbidden: frozenset[str] = frozenset()
    is_loop_free: bool = False
    uses_global_random_state: bool = False
    speed: Speed | None = None
    call: Callable[..., Any] | None = None
    tolerance: float | None = None
    id: str = ""
    notebook: str = ""
    is_hidden: bool = False

    def __post_init__(self) -> None:
        if not self.cases or not self.points:
            raise ValueError(f"exercise {self.functions} needs at least one case and one quantity with points")

    @property
    def total(self) -> float:
        """Points the exercise is worth."""
        return float(sum(self.points.values()))

    def run(self, functions: Functions, inputs: Inputs) -> Any:
        """Call the student's functions on ``inputs`` and return what comes out, unexamined."""
        if self.call is not None:
            return self.call(*functions, **inputs)
        return functions[0](*inputs.values())

    @abstractmethod
    def judge(self, inputs: Inputs, result: Any, explained: Collection[str] = ()) -> dict[str, Outcome]:
        """Compare a result of ``run`` with what is expected.

        Args:
            inputs: The inputs of a case.
            result: What ``run`` returned for them.
            explained: Quantities whose mistake is known from another case; for these no more is looked for.

        Returns:
            One outcome per quantity of ``points``.
        """

    def with_hidden(self, cases: Sequence[Case], mistakes: Sequence[Mistake] = ()) -> Exercise:
        """Return the exercise with hidden cases and further mistakes appended."""
        return replace(self, cases=[*self.cases, *cases], mistakes=[*self.mistakes, *mistakes], is_hidden=True)

    def split(self, result: Any) -> dict[str, Any] | Finding:
        """Return quantity name to value; a finding if the number of results is wrong."""
        names = list(self.points)
        if len(names) == 1:
            return {names[0]: result}
        if not isinstance(result, list | tuple) or len(result) != len(names):
            got = f"a {kind_of(result)}" if result is not None else "None"
            text = messages.WRONG_TUPLE.format(
                name=self.functions[-1], got=got, count=len(names), names=messages.listing(names)
            )
            hint = messages.RETURNED_NONE_HINT if result is None else None
            return Finding(Kind.STRUCTURE, text, hint=hint)
        return dict(zip(names, result, strict=True))


@dataclass(frozen=True, kw_only=True)
class ComparedExercise(Exercise):
    """An exercise whose quantities are compared with those of a reference.

    Attributes:
        reference: Called with the inputs by keyword; returns the quantities in the order of ``points``.
    """

    reference: Callable[..., Any] = field(default=lambda: None)

    def expect(self, reference: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
        """Return quantity name to the value that ``reference`` (the true one, or a mistake's variant) gives."""
        expected = self.split(reference(**inputs))
        if isinstance(expected, Finding):
            raise TypeError(f"the reference of {self.id} disagrees with its points: {expected.text}")
        return expected

    def judge(self, inputs: Inputs, result: Any, explained: Collection[str] = ()) -> dict[str, Outcome]:
        """Compare every quantity with the reference's; a wrong one is diagnosed."""
        got = self.split(result)
        if isinstance(got, Finding):
            return dict.fromkeys(self.points, (got, None))
        expected = self.expect(self.reference, inputs)
        variants: dict[int, dict[str, Any] | None] = {}
        outcomes: dict[str, Outcome] = {}
        for name in self.points:
            finding, error = compare_tree(name, got[name], expected[name], self.tolerance)
            if finding is not None and name not in explained:
                finding = self._explain(name, finding, got[name], expected, inputs, variants)
            outcomes[name] = finding, error
        return outcomes

    def _explain(
        self,
        name: str,
        finding: Finding,
        got: Any,
        expected: dict[str, Any],
        inputs: Inputs,
        variants: dict[int, dict[str, Any] | None],
    ) -> Finding:
        for index, mistake in enumerate(self.mistakes):
            if index not in variants:
                variants[index] = self._expect_mistake(mistake, inputs)
            variant = variants[index]
            if variant is None or compare_tree(name, variant[name], expected[name], self.tolerance)[0] is None:
                continue
            if compare_tree(name, *_without_nan(got, variant[name]), self.tolerance)[0] is None:
                return replace(finding, diagnosis=mistake.name, hint=mistake.hint)
        if finding.kind not in {Kind.VALUE, Kind.SHAPE} or finding.diagnosis is not None:
            return finding
        have, wanted = _wrong_leaf(got, expected, name, self.tolerance)
        general = diagnose(name, have, wanted, flat_inputs(inputs), tolerance=self.tolerance)
        if general is None:
            return finding
        text = finding.text if self.is_hidden else f"{finding.text}; it is {general.text}"
        return replace(finding, text=text, diagnosis=f"it is {general.public_text}", hint=finding.hint or general.hint)

    def _expect_mistake(self, mistake: Mistake, inputs: Inputs) -> dict[str, Any] | None:
        try:
            return self.expect(mistake.variant, inputs)
        except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError, Interrupted):
            return None  # a variant need not be defined on every case


def flat_inputs(inputs: Inputs) -> Inputs:
    """Return inputs with the entries of dicts among them brought to the top: weights and settings by their names."""
    flat: Inputs = {}
    for name, value in inputs.items():
        flat |= flat_inputs(value) if isinstance(value, dict) else {name: value}
    return flat


def _without_nan(got: Any, variant: Any) -> tuple[Any, Any]:
    """Return two tensors with NaN replaced by 0 where both have it: a mistake that gives NaN is known by its places.

    Only for recognising mistakes; against the reference NaN never counts as equal.
    """
    if not isinstance(got, Tensor) or not isinstance(variant, Tensor) or not is_dense(got):
        return got, variant
    if got.shape != variant.shape or not got.is_floating_point() or not variant.is_floating_point():
        return got, variant
    both = got.isnan() & variant.isnan().to(got.device)
    return got.masked_fill(both, 0), variant.masked_fill(both.to(variant.device), 0)


def compare_tree(
    where: str, got: Any, expected: Any, tolerance: float | None, floor: float | None = None
) -> tuple[Finding | None, float]:
    """Compare nested dicts and lists leaf by leaf; see ``compare_leaf``. None as the floor takes that of all leaves."""
    if isinstance(expected, dict | list | tuple):
        floor = rounding_floor(_tensors_in(expected)) if floor is None else floor
        finding = _container_finding(got, expected)
        if finding is not None:
            return finding, float("inf")
        worst = 0.0
        for key in expected if isinstance(expected, dict) else range(len(expected)):
            place = f"{where}[{key!r}]"
            finding, error = compare_tree(place, got[key], expected[key], tolerance, floor)
            worst = max(worst, error)
            if finding is not None:
                return (finding if finding.first else replace(finding, first=place)), worst
        return None, worst
    return compare_leaf(where, got, expected, tolerance, floor or 0.0)


def _tensors_in(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, dict | list | tuple):
        for leaf in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors_in(leaf)
    elif isinstance(tree, Tensor):
        yield tree


def _wrong_leaf(got: Any, expected: dict[str, Any], name: str, tolerance: float | None) -> tuple[Any, dict[str, Any]]:
    """Return the first wrong leaf of a tree, and under ``name`` what it should be, beside its neighbours."""
    want = expected[name]
    if not isinstance(want, dict | list | tuple) or _container_finding(got, want) is not None:
        return got, expected
    items = dict(want.items() if isinstance(want, dict) else enumerate(want))
    for key, item in items.items():
        if compare_tree(name, got[key], item, tolerance)[0] is not None:
            neighbours = {f"{name}[{other!r}]": value for other, value in items.items() if other != key}
            return _wrong_leaf(got[key], {**neighbours, name: item}, name, tolerance)
    return got, expected


def _container_finding(got: Any, expected: Any) -> Finding | None:
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return Finding(Kind.STRUCTURE, messages.WRONG_STRUCTURE.format(got=kind_of(got), expected="a dict"))
        if set(got) != set(expected):
            text = messages.WRONG_KEYS.format(got=list(got), expected=list(expected))
            return Finding(Kind.STRUCTURE, text)
    elif not isinstance(got, list | tuple) or len(got) != len(expected):
        expectation = f"a {kind_of(expected)}"
        return Finding(Kind.STRUCTURE, messages.WRONG_STRUCTURE.format(got=kind_of(got), expected=expectation))
    return None
