"""``dlcvkit hint``: where to look in an exercise, one hint more each time, the most general first."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from dlcvkit.commands.terminal import CannotBeDone, complain, say, say_json
from dlcvkit.memory import NewerMemory, memory_file, recall, store

if TYPE_CHECKING:
    from dlcvkit.checking import Exercise

# Digits, operators, subscripts, calls and names with an underscore: what makes a hint speak of a certain line of code.
_CODE = re.compile(r"\d|[=<>*/+@\[\]()]|\w_\w")


def graded_hints(exercise: Exercise) -> list[str]:
    """Return the hints of an exercise's known mistakes, each once, from general to specific.

    A hint that several mistakes share is more general than one that belongs to a single mistake; after that, one in
    words is more general than one that holds code, and the order of the exercise decides among equals.
    """
    quantity_hints = list(getattr(exercise, "hints", {}).values())
    count = Counter([*(mistake.hint for mistake in exercise.mistakes), *quantity_hints])
    return sorted(count, key=lambda hint: (-count[hint], len(_CODE.findall(hint))))


def find(target: str) -> Exercise:
    """Return the exercise that ``a2/affine`` or ``a2/two_layer_net/affine`` names.

    Raises:
        CannotBeDone: If there is none.
    """
    from dlcvkit.checking import UnknownExercise, find_exercise

    stage, *rest = target.split("/")
    try:
        exercise = find_exercise(f"{stage}/{rest[-1]}" if rest else target)
    except UnknownExercise as error:
        raise CannotBeDone(str(error)) from None
    if len(rest) > 2 or (len(rest) == 2 and rest[0] != exercise.notebook):
        raise CannotBeDone(f"no exercise {target!r}; the nearest is '{stage}/{exercise.notebook}/{rest[-1]}'")
    return exercise


def hint_command(
    target: Annotated[str, typer.Argument(metavar="EXERCISE", help="Such as a2/affine.")],
    reset: Annotated[bool, typer.Option("--reset", help="Forget the hints that were given, and give none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say where to look in an exercise: one hint more each time, from general to specific."""
    exercise = find(target)
    hints = graded_hints(exercise)
    try:
        memory = recall()
    except NewerMemory as error:
        raise CannotBeDone(str(error)) from None
    given = 0 if reset else min(memory.hints.get(exercise.id, 0) + 1, len(hints))
    memory.hints.pop(exercise.id, None)
    if given:
        memory.hints[exercise.id] = given
    try:
        store(memory)
    except OSError as error:
        complain(f"{memory_file()} cannot be written ({error.strerror or error}), so the next hint is this one again")
    left = len(hints) - given
    if as_json:
        say_json({"exercise": exercise.id, "hints": hints[:given], "left": left})
        return
    for number, hint in enumerate(hints[:given], 1):
        say(f"{number}. {hint}", style="bold" if number == given else "")
    said = "a hint" if left == 1 else f"{left} hints"
    say(f"{exercise.id}: {said if left else 'no hint'} left" + ("" if left else "; --reset begins again"))
