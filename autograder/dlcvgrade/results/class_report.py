"""One page for the teacher: how the class did, what went wrong most often, and what is still to be decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from dlcvgrade.problems import Problem
from dlcvgrade.results.pages import render
from dlcvgrade.results.plain import number
from dlcvgrade.results.reading import ExerciseResult, Result

BARS = 10
MOST_MISTAKES = 5
WIDTH, HEIGHT, BASE = 320, 90, 110
"""Of the histogram, in the units of its view box: its width, that of the highest bar, and where the bars stand."""


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram: where it stands, how many submissions it counts, and the points it starts at."""

    x: float
    y: float
    width: float
    height: float
    middle: float
    count: int
    start: float


@dataclass(frozen=True)
class Chart:
    """The histogram of the points of all decided submissions, and what it comes to in words."""

    bars: tuple[Bar, ...]
    possible: float
    total: int
    median: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    told: str = ""


@dataclass(frozen=True)
class Mistake:
    """A mistake in one exercise, and how many submissions made it."""

    verdict: str
    text: str
    count: int


@dataclass(frozen=True)
class ExerciseRow:
    """How the class did in one exercise."""

    name: str
    right: int = 0
    decided: int = 0
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def percent(self) -> int:
        """Percentage of the decided submissions that got it right, rounded down: 100 means all of them."""
        return 100 * self.right // self.decided if self.decided else 0


def chart(results: Sequence[Result]) -> Chart:
    """Return the histogram; undecided submissions are not in it, for their points are not known yet."""
    points = [result.points for result in results if result.is_decided]
    possible = max(result.possible for result in results)
    if not points:
        return Chart((), possible, 0)
    counts = [0] * BARS
    for value in points:  # full points belong to the last bar
        counts[min(int(value / possible * BARS), BARS - 1) if possible else 0] += 1
    step, highest = WIDTH / BARS, max(counts)
    bars = tuple(
        Bar(
            x=round(place * step, 2),
            y=round(BASE - HEIGHT * count / highest, 2),
            width=round(step - 3, 2),
            height=round(HEIGHT * count / highest, 2),
            middle=round(place * step + (step - 3) / 2, 2),
            count=count,
            start=possible * place / BARS,
        )
        for place, count in enumerate(counts)
    )
    told = ", ".join(f"{bar.count} from {number(bar.start)}" for bar in bars if bar.count)
    return Chart(bars, possible, len(points), median(points), min(points), max(points), told)


def mistake_text(exercise: ExerciseResult) -> str:
    """Return what a mistake is counted as: the diagnosis, or else the reason."""
    return exercise.diagnosis or exercise.reason or "no reason given"


def exercise_rows(results: Sequence[Result]) -> list[ExerciseRow]:
    """Return a row per exercise, in the order in which submissions have them, with its mistakes, commonest first."""
    found: dict[str, list[ExerciseResult]] = {}
    for result in sorted(results, key=lambda result: -len(result.exercises)):  # a whole submission has the full order
        for exercise in result.exercises:
            found.setdefault(exercise.name, []).append(exercise)
    rows = []
    for name, exercises in found.items():
        decided = [exercise for exercise in exercises if exercise.points is not None]
        wrong = Counter((e.verdict, mistake_text(e)) for e in decided if e.verdict != "pass")
        ordered = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        mistakes = [Mistake(verdict, text, count) for (verdict, text), count in ordered]
        rows.append(ExerciseRow(name, len(decided) - wrong.total(), len(decided), mistakes))
    return rows


def class_report_page(results: Sequence[Result], problems: Sequence[Problem], links: Mapping[str, str]) -> str:
    """Return the class report as HTML.

    Args:
        results: Of one stage; at least one.
        problems: Files that hold no result.
        links: A result's key to the address of its page.
    """
    levels = Counter(result.isolation for result in results)
    return render(
        "class_report.html",
        stage=results[0].stage,
        results=results,
        problems=problems,
        isolation=sorted(levels.items()),
        unsafe=levels["none"],
        chart=chart(results),
        exercises=exercise_rows(results),
        undecided=[(result, exercise) for result in results for exercise in result.undecided],
        links=links,
        most=MOST_MISTAKES,
    )
