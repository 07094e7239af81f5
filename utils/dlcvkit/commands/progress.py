"""``dlcvkit progress``: how far every notebook is, and what is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from dlcvkit.commands.course import Topic, all_topics, topics_of
from dlcvkit.commands.terminal import CannotBeDone, say, say_json
from dlcvkit.memory import LastCheck, NewerMemory, memory_file, recall

_WIDTH = 20
_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"


def progress_command(
    stage: Annotated[str | None, typer.Argument(help="Such as a2; all stages if not given.")] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where the notebooks lie.", show_default="here")] = Path("."),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show how far every notebook is, and what is next.

    The points are those of the last checks, in Jupyter or by dlcvkit check. They need not be those of the grading.
    """
    topics = topics_of(stage, folder) if stage is not None else all_topics(folder)
    try:
        checks = recall().checks
    except NewerMemory as error:
        raise CannotBeDone(str(error)) from None
    following = next_exercise(topics, checks, folder)
    if as_json:
        notebooks = [_as_json(topic, checks) for topic in topics]
        say_json({"file": str(memory_file()), "next": following, "notebooks": notebooks})
        return
    width = max(len(topic.name) for topic in topics)
    for name, group in groupby(topics, key=lambda topic: topic.stage):
        members = list(group)
        earned, possible = sum(earned_in(each, checks) for each in members), sum(each.possible for each in members)
        say(f"{name}{'':{width + _WIDTH + 2}}{earned:>6g} / {possible:g}", style="bold")
        for topic in members:
            say(_line(topic, checks, width))
    say(f"next: {following}" if following else "next: nothing; every point on the public cases is earned")
    if not checks:
        say("nothing has been checked yet: run the check cells in Jupyter, or dlcvkit check")


def earned_in(topic: Topic, checks: Mapping[str, LastCheck]) -> float:
    """Return a notebook's points at the last checks.

    A check made when the exercise was worth something else counts by the share that was earned.
    """
    total = 0.0
    for exercise_id, exercise in topic.exercises.items():
        check = checks.get(exercise_id)
        if check is not None and check.possible > 0:
            total += exercise.total * check.earned / check.possible
    return round(total, 2)


def is_complete(check: LastCheck | None) -> bool:
    """Return whether a check had all points."""
    return check is not None and check.earned >= check.possible


def next_exercise(topics: Sequence[Topic], checks: Mapping[str, LastCheck], folder: Path) -> str | None:
    """Return the first exercise without all points, of the notebooks in ``folder`` before all others; None if done."""
    here = [topic for topic in topics if topic.find(folder)]
    for topic in [*here, *topics]:
        for exercise_id in topic.exercises:
            if not is_complete(checks.get(exercise_id)):
                return f"{exercise_id} in {topic.file_name}"
    return None


def bar(share: float) -> str:
    """Return a bar of a fixed width, filled to ``share``, 0 … 1; full at 1 only and empty at 0 only."""
    eighths = round(share * 8 * _WIDTH)
    if 0 < share < 1:
        eighths = min(max(eighths, 1), 8 * _WIDTH - 1)
    full, rest = divmod(eighths, 8)
    return f"{_FULL * full}{_PARTS[rest] if rest else ''}".ljust(_WIDTH, "·")


def _line(topic: Topic, checks: Mapping[str, LastCheck], width: int) -> str:
    earned = earned_in(topic, checks)
    seen = [checks[each] for each in topic.exercises if each in checks]
    open_ones = sum(not is_complete(checks.get(each)) for each in topic.exercises)
    if not seen:
        state = "not begun"
    elif open_ones:
        state = f"{open_ones} of {len(topic.exercises)} exercises open"
    else:
        state = f"done {max(check.when for check in seen)[:10]}"
    return f"  {topic.name:<{width}}  {bar(earned / topic.possible)}{earned:>6g} / {topic.possible:<4g} {state}"


def _as_json(topic: Topic, checks: Mapping[str, LastCheck]) -> dict[str, Any]:
    def told(exercise_id: str) -> dict[str, Any]:
        check = checks.get(exercise_id)
        last = None if check is None else {"earned": check.earned, "verdict": check.verdict, "when": check.when}
        return {"exercise": exercise_id, "possible": topic.exercises[exercise_id].total, "last": last}

    return {
        "stage": topic.stage,
        "notebook": topic.name,
        "earned": earned_in(topic, checks),
        "possible": topic.possible,
        "exercises": [told(each) for each in topic.exercises],
    }
