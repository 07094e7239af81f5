"""Say where a mistake may come from: functions that call those of another exercise, which is wrong itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from dlcvgrade.judge.rules import Text, reached_from
from dlcvkit.checking import Exercise, ForwardBackward, messages

if TYPE_CHECKING:
    from dlcvgrade.judge.judging import Verdict

CALLS = "calls {names}, which earned less than all points itself; mend that first"
_OWN_FAULT = frozenset({"pass", "missing", "not_run", "could_not_check"})
"""Verdicts that need no other cause."""


def with_causes(verdicts: Mapping[str, Verdict], exercises: Mapping[str, Exercise], text: Text) -> dict[str, Verdict]:
    """Return the verdicts of a notebook; those that may be another exercise's fault have a note that says so.

    Args:
        verdicts: Exercise id to verdict.
        exercises: Id to exercise.
        text: The notebook.
    """
    homes = {name: exercises[i].functions for i, v in verdicts.items() for name in _wrong_functions(exercises[i], v)}
    wrong = homes.keys()
    # What calls no other wrong function is where to begin.
    first = {name for name, home in homes.items() if not wrong & reached_from([name], text) - set(home)}
    told = dict(verdicts)
    for i, verdict in verdicts.items():
        if verdict.verdict in _OWN_FAULT or not wrong:
            continue
        functions = exercises[i].functions
        called = wrong & reached_from(functions, text) - set(functions)
        if called:
            note = CALLS.format(names=messages.listing(sorted(called & first or called)))
            told[i] = replace(verdict, report=replace(verdict.report, notes=(*verdict.report.notes, note)))
    return told


def _wrong_functions(exercise: Exercise, verdict: Verdict) -> tuple[str, ...]:
    if verdict.verdict in ("pass", "could_not_check"):
        return ()
    found = {quantity.name: quantity.finding for quantity in verdict.report.quantities}
    if isinstance(exercise, ForwardBackward) and all(found.get(name) is None for name in exercise.outputs):
        return tuple(exercise.functions[1:])
    return tuple(exercise.functions)
