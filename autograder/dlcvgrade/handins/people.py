"""Which student a hand-in belongs to, under an id that suits a folder, a table and a page."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from dlcvgrade.handins.systems import HandIn, Note
from dlcvgrade.results.roster import KEYS, Roster

_KEPT = frozenset("._-@+")
_LONGEST = 80
_TELLING = frozenset(("gradescope", "plain"))
"""Where a hand-in says a student's id; the others say a name and a number of their own."""


def student_id(text: str) -> str:
    """Return what a student's folder is called: letters of any script, digits and ``._-@+``; empty if nothing is left.

    >>> student_id("José  Ñandú"), student_id("../=Ada/Byron"), student_id("ada@example.org")
    ('José_Ñandú', 'AdaByron', 'ada@example.org')
    """
    letters = unicodedata.normalize("NFC", "_".join(text.split()))
    kept = "".join(c for c in letters if c.isalnum() or c in _KEPT or unicodedata.category(c).startswith("M"))
    return kept.lstrip("._-@+").rstrip(".")[:_LONGEST].rstrip(".")


def _in_roster(handin: HandIn, roster: Roster, system: str) -> str | None:
    person = next((found for key in handin.ids if (found := roster.find(key))), None)
    if person is None:
        return None
    cells = [person.get(column, "").strip() for column in KEYS[system] if column != "Identifier"]
    # An address stands for its first part, by which `dlcvgrade export --roster` finds the row as well.
    return next((student_id(cell.partition("@")[0]) for cell in cells if student_id(cell.partition("@")[0])), None)


def by_student(handins: Sequence[HandIn], roster: Roster | None, system: str) -> dict[str, HandIn]:
    """Return student's id to hand-in, sorted.

    With a roster the id is that of the roster. Without, it is what the platform tells: a number of the university's if
    it has one, else the name, with the platform's number where two students are called the same.

    Args:
        handins: The hand-ins, which learn whether their id is certain; those of one student are put together.
        roster: The class as the platform exports it; None if nobody gave it.
        system: The platform.
    """
    named: list[tuple[str, HandIn]] = []
    spelt: defaultdict[str, set[str]] = defaultdict(set)
    for handin in handins:
        told = [*(handin.ids if system in _TELLING else ())]
        if roster is not None:
            known = _in_roster(handin, roster, system)
            told += [known] if known else []
            if known is None:
                handin.notes.append(Note(f"is not in {roster.name}; taken by name"))
        names = [name for name in map(student_id, told) if name]
        handin.is_certain = bool(names)
        name = names[0] if names else student_id(handin.name) or f"student-{handin.number}"
        named.append((name, handin))
        spelt[name.casefold()].add(name if handin.is_certain else handin.number)
    found: dict[str, HandIn] = {}
    for name, handin in named:
        if len(spelt[name.casefold()]) > 1 and not handin.is_certain:
            handin.notes.append(Note(f"somebody else would be {name} too; --roster gives each an id of their own"))
            name = f"{name}-{handin.number}"
        found[name] = _together(found[name], handin) if name in found else handin
    return dict(sorted(found.items()))


def _together(first: HandIn, second: HandIn) -> HandIn:
    when = max((handin.when for handin in (first, second) if handin.when), default=None)
    told = Note("handed in more than once; what is newest of each file counts", is_fine=True)
    uploads, notes = [*first.uploads, *second.uploads], [*first.notes, *second.notes, told]
    return replace(first, number="", uploads=uploads, when=when, notes=notes)
