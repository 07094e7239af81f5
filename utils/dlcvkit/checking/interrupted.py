"""A protocol that cannot go on says how far it came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlcvkit.checking.findings import Finding


class Interrupted(Exception):
    """Raised by ``Exercise.run`` when the student's code leaves it nothing to go on with.

    Attributes:
        cause: What happened: a finding, or the exception that the student's code raised.
        result: What was computed before, with None in the places of ``lost``; None if there is nothing.
        lost: Names of the quantities that could not be computed; empty stands for all of them.
    """

    def __init__(self, cause: Finding | BaseException, result: Any = None, lost: Sequence[str] = ()) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.result = result
        self.lost = tuple(lost)
