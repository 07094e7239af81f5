"""Texts from students and numbers as they are shown: short, on one line, without characters that act."""

from __future__ import annotations

MARK = "\N{REPLACEMENT CHARACTER}"
"""Stands for a character that acts instead of being seen: escapes, changes of direction, lone surrogates."""


def plain(text: str, longest: int | None = None) -> str:
    r"""Return a text as one line of printable characters, cut where it gets too long.

    Args:
        text: Any text; white space becomes a space, what is not printable becomes ``MARK``.
        longest: Number of characters to keep at most, the sign of the cut included; None keeps all.

    >>> plain("one\ntwo \x1b[31m")
    'one two �[31m'
    >>> plain("abcdef", 4)
    'abc…'
    """
    kept = text if longest is None else text[: longest + 1]
    line = "".join(" " if sign.isspace() else sign if sign.isprintable() else MARK for sign in kept)
    return line if longest is None or len(line) <= longest else f"{line[: longest - 1]}…"


def number(value: float) -> str:
    """Return points without a needless decimal.

    >>> number(2.0), number(1.5), number(1 / 3)
    ('2', '1.5', '0.333333')
    """
    return f"{value:g}"
