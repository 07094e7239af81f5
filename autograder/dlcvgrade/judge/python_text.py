"""A notebook's cells as Python: what the judge reads is what the worker runs, to the letter.

Plain Python is left as it is. Magics and shell lines become calls, which do nothing when grading. A cell that cannot be
read here is not run there: it raises where it stands, as it would in a notebook.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

MAX_SOURCE = 500_000
"""Characters of all cells together; a syntax tree takes a thousand times their memory."""
_MAX_EFFORT = 2_000_000
"""Characters that IPython may go through for all cells together: it starts anew for each magic line. Some seconds."""

UNREADABLE = "raise SyntaxError"
_BODY_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")
# IPython takes these prompts away, though Python may find a meaning in them.
_PROMPT = re.compile(r"^\s*(?:In ?\[\d+\]:|\.\.\.|>>>)", re.MULTILINE)
_MAGIC = re.compile(r"^\s*[%!?,;/]|\?\s*$|=\s*[%!]", re.MULTILINE)


@dataclass(frozen=True)
class PythonCell:
    """One cell.

    Attributes:
        source: Its text as it was handed in.
        text: The Python that is run.
        read: Its syntax tree and code; None if the cell cannot be read.
    """

    source: str
    text: str
    read: tuple[ast.Module, CodeType] | None


def python_cells(sources: Sequence[str]) -> Iterator[PythonCell]:
    """Yield the cells of a notebook; nothing in them raises here."""
    size = effort = 0
    for source in sources:
        text, read = source, None
        if size + len(source) <= MAX_SOURCE:
            size += len(source)
            read = None if _PROMPT.search(source) else _read(source)
            if read is None:
                cost = len(source) * (1 + len(_MAGIC.findall(source)))
                if effort + cost <= _MAX_EFFORT:
                    effort += cost
                    text = _transformed(source)
                    read = _read(text)
        yield PythonCell(source, UNREADABLE if read is None else text, read)


def _read(text: str) -> tuple[ast.Module, CodeType] | None:
    try:
        tree = ast.parse(text)
        return tree, compile(tree, "<submission>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _transformed(source: str) -> str:
    first, newline, rest = source.partition("\n")
    if first.split(" ")[0] in _BODY_MAGICS:
        source = newline + rest
    transform: Any = TransformerManager().transform_cell
    try:
        text: str = transform(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return UNREADABLE
    return text
