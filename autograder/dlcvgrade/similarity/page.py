"""The report: pairs of students with the passages that they share, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dlcvgrade.problems import Problem
from dlcvgrade.results.pages import render
from dlcvgrade.results.plain import MARK
from dlcvgrade.similarity.comparing import LEAST, MOST_SHARE, MOST_STUDENTS, Pair, Span
from dlcvgrade.similarity.handed_in import HandedIn

LONGEST_CELL = 6_000
"""Characters of a cell that are shown."""


@dataclass(frozen=True)
class Shown:
    """A cell with a shared passage, cut into (text, whether it is shared)."""

    notebook: str
    pieces: Sequence[tuple[str, bool]]


def _shown(student: HandedIn, passages: Sequence[Span]) -> Iterator[Shown]:
    for cell, first, last in student.spans():
        inside = [(max(a, first) - first, min(b, last) - first) for a, b in passages if a < last and b > first]
        if not inside:
            continue
        pieces, place = [], 0
        for start, end in inside:
            pieces += [(cell.code[place:start], False), (cell.code[start:end], True)]
            place = end
        pieces.append((cell.code[place:], False))
        yield Shown(cell.notebook, list(_cut(pieces)))


def _cut(pieces: Sequence[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    left = LONGEST_CELL
    for text, is_shared in pieces:
        if left > 0 and text:
            seen = "".join(sign if sign.isprintable() or sign in "\n\t" else MARK for sign in text[:left])
            yield seen + ("…" if len(text) > left else ""), is_shared
        left -= len(text)


def similarity_page(
    stage: str, class_of: Sequence[HandedIn], pairs: Sequence[Pair], problems: Sequence[Problem], at_least: float
) -> str:
    """Return the report as HTML.

    Args:
        stage: Such as ``a2``.
        class_of: Everybody who was compared.
        pairs: What to show, in this order.
        problems: What could not be compared.
        at_least: The share from which pairs are told.
    """
    told = [
        {
            "names": [student.student + (" (earlier)" if student.is_earlier else "") for student in pair.students],
            "shares": [round(100 * share) for share in pair.shares],
            "shared": pair.shared,
            "sides": [
                list(_shown(student, passages)) for student, passages in zip(pair.students, pair.passages, strict=True)
            ],
        }
        for pair in pairs
    ]
    return render(
        "similarity.html",
        stage=stage,
        count=len(class_of),
        earlier=sum(student.is_earlier for student in class_of),
        pairs=told,
        problems=problems,
        percent=round(100 * at_least),
        least=LEAST,
        common=round(100 * MOST_SHARE),
        students=MOST_STUDENTS,
    )
