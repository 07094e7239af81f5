"""The lines that open and close a solution, a hidden test or a mark scheme, and lines that were meant to.

nbgrader looks for ``BEGIN HIDDEN TESTS`` anywhere in a line and publishes whatever stands behind a misspelt one, so
only the exact line ``### BEGIN HIDDEN TESTS`` is taken here, and everything that comes close is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

NAMES = ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
EDGES = ("BEGIN", "END")
_WORDS = re.compile(r"[A-Z]+")
_OTHER_WORDS = {"START": "BEGIN", "OPEN": "BEGIN", "STOP": "END", "CLOSE": "END", "FINISH": "END"}
# Measured on the misspellings in tests/grade/test_markers.py against ordinary comments and headings.
_WORD_LIKENESS = 0.7
_LINE_LIKENESS = 0.88


@dataclass(frozen=True)
class Region:
    """A marked region of a cell: its name, and the numbers of its first and last line between the markers, from 0."""

    name: str
    first: int
    last: int


def begin(name: str) -> str:
    """Return the line that opens a region."""
    return f"### BEGIN {name}"


def end(name: str) -> str:
    """Return the line that closes a region."""
    return f"### END {name}"


_EXACT = {f"### {edge} {name}": (edge, name) for edge in EDGES for name in NAMES}


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def meant_marker(line: str) -> str | None:
    """Return the marker that a line was probably meant to be, or None if it looks like none.

    Args:
        line: One line of a cell. An exact marker is its own answer.
    """
    stripped = line.strip()
    if stripped in _EXACT:
        return stripped
    words = [_OTHER_WORDS.get(word, word) for word in _WORDS.findall(stripped.upper().replace("_", " "))]
    squeezed = "".join(words)
    for marker, (edge, name) in _EXACT.items():
        # What nbgrader itself would take for a marker, wherever it stands in the line.
        if f"{edge} {name}" in stripped:
            return marker
        if not stripped.startswith("#") and not stripped.upper().startswith(EDGES):
            continue
        target = [edge, *name.split()]
        if len(words) >= len(target) and all(
            _likeness(word, wanted) >= _WORD_LIKENESS for word, wanted in zip(words, target, strict=False)
        ):
            return marker
        if _likeness(squeezed, "".join(target)) >= _LINE_LIKENESS:
            return marker
    return None


def scan(source: str) -> tuple[list[Region], list[tuple[int, str]]]:
    """Find the marked regions of a cell.

    Args:
        source: The cell's text.

    Returns:
        The regions in order, and what is wrong as (line number from 0, message).
    """
    regions: list[Region] = []
    problems: list[tuple[int, str]] = []
    open_name: str | None = None
    open_line = 0
    for number, line in enumerate(source.split("\n")):
        meant = meant_marker(line)
        if meant is None:
            continue
        if line.strip() != meant:
            problems.append((number, f"{line.strip()!r} looks like a marker; write exactly '{meant}' on a line alone"))
        edge, name = _EXACT[meant]
        if edge == "BEGIN":
            if open_name is not None:
                problems.append((number, f"'{meant}' stands inside '{begin(open_name)}'; close that one first"))
            open_name, open_line = name, number
        elif open_name != name:
            wanted = "nothing is open" if open_name is None else f"'{end(open_name)}' is due"
            problems.append((number, f"'{meant}' closes nothing; {wanted}"))
            open_name = None
        else:
            regions.append(Region(name, open_line + 1, number - 1))
            open_name = None
    if open_name is not None:
        problems.append((open_line, f"'{begin(open_name)}' is never closed; '{end(open_name)}' is missing"))
    return regions, problems


def region_lines(source: str, *names: str) -> Iterator[str]:
    """Yield the lines inside the regions of the given names, markers left out."""
    lines = source.split("\n")
    for region in scan(source)[0]:
        if region.name in names:
            yield from lines[region.first : region.last + 1]


def outside_lines(source: str) -> Iterator[str]:
    """Yield the lines that stand outside every region, markers left out."""
    hidden: set[int] = set()
    for region in scan(source)[0]:
        hidden.update(range(region.first - 1, region.last + 2))
    for number, line in enumerate(source.split("\n")):
        if number not in hidden:
            yield line


def without_markers(source: str) -> str:
    """Return the text without its marker lines, with what they enclose kept."""
    return "\n".join(line for line in source.split("\n") if line.strip() not in _EXACT)
