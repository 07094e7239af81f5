"""What a check can find wrong, and the result of one exercise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any


class Kind(Enum):
    """Kinds of findings."""

    COULD_NOT_CHECK = auto()
    MISSING = auto()
    RAISED = auto()
    STRUCTURE = auto()
    DTYPE = auto()
    SHAPE = auto()
    DEVICE = auto()
    NOT_FINITE = auto()
    MUTATED = auto()
    LOOP = auto()
    FORBIDDEN = auto()
    RANDOM = auto()
    VALUE = auto()
    PROPERTY = auto()

    @property
    def verdict(self) -> str:
        """The verdict of an exercise whose first finding is of this kind."""
        return _VERDICTS.get(self, "wrong")


_VERDICTS = {
    Kind.COULD_NOT_CHECK: "could_not_check",
    Kind.MISSING: "missing",
    Kind.RAISED: "error",
    Kind.MUTATED: "mutated_input",
    Kind.LOOP: "forbidden_op",
    Kind.FORBIDDEN: "forbidden_op",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: What sort of problem it is.
        text: What it is and what was expected, in one line; may show values.
        first: The first place where the answer differs, or the student's own line that raised; None if there is none.
        hint: Where to look; None if nothing is known. Never holds values.
        diagnosis: The recognised mistake in a few words; None if none was recognised. Never holds values.
        case: Name of the case it was found in; empty if the case has none.
        error: Largest scaled error, for value findings.
    """

    kind: Kind
    text: str
    first: str | None = None
    hint: str | None = None
    diagnosis: str | None = None
    case: str = ""
    error: float | None = None

    @property
    def is_named(self) -> bool:
        """Whether the finding says what the mistake is, not just that there is one."""
        return self.diagnosis is not None or self.kind not in {Kind.VALUE, Kind.SHAPE, Kind.NOT_FINITE}

    def in_case(self, name: str) -> Finding:
        """Return the finding with the name of the case it belongs to."""
        return replace(self, case=name)


@dataclass(frozen=True)
class Quantity:
    """The result for one graded quantity of an exercise.

    Attributes:
        name: Name of the quantity, such as ``dists``.
        possible: Points it is worth.
        finding: What is wrong first, or None if it is right in every case.
        error: Largest scaled error over the cases; None where no values were compared.
    """

    name: str
    possible: float
    finding: Finding | None = None
    error: float | None = None

    @property
    def is_right(self) -> bool:
        """Whether nothing was found wrong."""
        return self.finding is None

    @property
    def earned(self) -> float:
        """Points earned: all or none."""
        return self.possible if self.is_right else 0.0


@dataclass(frozen=True)
class Report:
    """The result of checking one exercise.

    Attributes:
        exercise: Id such as ``a1/knn_two_loops``.
        quantities: One result per graded quantity.
        problem: What is wrong with the exercise as a whole (not written yet, raised, forbidden ...), or None.
        notes: Remarks that cost no points, such as a missing speed-up.
        is_hidden: Whether hidden cases took part; then values and inputs are never shown.
        seconds: How long the check took.
        devices: Devices it ran on.
    """

    exercise: str
    quantities: Sequence[Quantity]
    problem: Finding | None = None
    notes: Sequence[str] = field(default_factory=tuple)
    is_hidden: bool = False
    seconds: float = 0.0
    devices: Sequence[str] = ("cpu",)

    @property
    def earned(self) -> float:
        """Points earned, at least 0 and at most ``possible``."""
        return float(sum(q.earned for q in self.quantities))

    @property
    def possible(self) -> float:
        """Points the exercise is worth."""
        return float(sum(q.possible for q in self.quantities))

    @property
    def findings(self) -> list[Finding]:
        """The finding about the whole exercise, or else those of the quantities."""
        if self.problem is not None:
            return [self.problem]
        return [q.finding for q in self.quantities if q.finding is not None]

    @property
    def verdict(self) -> str:
        """``pass``, or the verdict of the first finding."""
        findings = self.findings
        return findings[0].kind.verdict if findings else "pass"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from dlcvkit.checking.render import as_html, as_json, as_text

        return {
            "text/plain": as_text(self),
            "text/html": as_html(self),
            "application/vnd.dlcvkit.report+json": as_json(self),
        }
