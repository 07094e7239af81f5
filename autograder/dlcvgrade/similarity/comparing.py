"""Compare code by its fingerprints: names, strings and comments do not count, order and layout hardly."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dlcvgrade.similarity.handed_in import HandedIn

if TYPE_CHECKING:
    from copydetect import CodeFingerprint

LENGTH = 25
"""Characters of a fingerprint, in a text where each name and each string is one character."""
WINDOW = 4
"""One fingerprint of so many is kept, the same ones in the same text; a passage of 28 characters is never missed."""
LEAST = 120
"""Characters that two students have to share before they are a pair at all."""
MOST_SHARE, MOST_STUDENTS = 0.2, 3
"""What more than this share of a class wrote, and more than so many students, is what the exercise asks for."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """Two students and what their code has in common.

    Attributes:
        students: The two.
        shares: For each, how much of the code that is not everybody's is found in the other's, from 0 to 1.
        shared: Number of characters in common, names and strings counted as one each.
        passages: For each, where in its ``code`` they stand, in order.
    """

    students: tuple[HandedIn, HandedIn]
    shares: tuple[float, float]
    shared: int
    passages: tuple[tuple[Span, ...], tuple[Span, ...]]

    @property
    def share(self) -> float:
        """The larger of the two shares."""
        return max(self.shares)


def similar_pairs(class_of: Sequence[HandedIn], released: Sequence[str], *, at_least: float) -> list[Pair]:
    """Return the pairs that have much in common, the most striking first.

    What was released does not count, nor does what many students wrote: short exercises have few good answers.

    Args:
        class_of: The students; two of an earlier class are not compared with each other.
        released: Cells that everybody was given; what is left untouched is no work of anybody's.
        at_least: The share, from 0 to 1, from which a pair is told.

    Source:
        Schleimer, Wilkerson & Aiken, "Winnowing: local algorithms for document fingerprinting", 2003.
    """
    # copydetect imports matplotlib, which nothing else in the command needs.
    from copydetect import compare_files

    # Every fingerprint of what was released, not one in WINDOW: students' code begins elsewhere.
    given: set[int] = set().union(*(_fingerprint(text, window=1).hashes for text in released))
    class_of = [_without_untouched(student, given) for student in class_of]
    prints = [_fingerprint(student.code) for student in class_of]
    common = _common([found.hashes for found in prints]) | given
    for found in prints:
        _leave_out(found, common)
    pairs = []
    for (one, first), (two, second) in combinations(zip(class_of, prints, strict=True), 2):
        if (one.is_earlier and two.is_earlier) or first.hashes.isdisjoint(second.hashes):
            continue
        shared, shares, slices = compare_files(first, second)
        pair = Pair(
            (one, two),
            (min(1.0, float(shares[0])), min(1.0, float(shares[1]))),
            int(shared),
            (_spans(slices[0], one.code), _spans(slices[1], two.code)),
        )
        if pair.shared >= LEAST and pair.share >= at_least:
            pairs.append(pair)
    return sorted(pairs, key=lambda pair: (-pair.share, -pair.shared, pair.students[0].student))


def _fingerprint(code: str, window: int = WINDOW) -> CodeFingerprint:
    from copydetect import CodeFingerprint as Prints

    return Prints("code.py", LENGTH, window, fp=io.StringIO(code))


def _without_untouched(student: HandedIn, given: set[int]) -> HandedIn:
    cells = [cell for cell in student.cells if not _fingerprint(cell.code, window=1).hashes <= given]
    return replace(student, cells=cells)


def _common(prints: Sequence[set[int]]) -> set[int]:
    counts = Counter(number for found in prints for number in found)
    limit = max(MOST_STUDENTS, MOST_SHARE * len(prints))
    return {number for number, count in counts.items() if count > limit}


def _leave_out(found: CodeFingerprint, common: Iterable[int]) -> None:
    """Take fingerprints away. copydetect could do it, but loses others with them where a text repeats itself."""
    from copydetect.utils import get_token_coverage

    found.hashes = found.hashes - set(common)
    found.hash_idx = {number: places for number, places in found.hash_idx.items() if number in found.hashes}
    found.token_coverage = get_token_coverage(found.hash_idx, LENGTH, len(found.filtered_code))


def _spans(slices: Any, code: str) -> tuple[Span, ...]:
    ends = [(int(start), min(int(end), len(code))) for start, end in zip(*slices, strict=True)]
    merged: list[Span] = []
    for start, end in sorted(ends):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif start < end:
            merged.append((start, end))
    return tuple(merged)
