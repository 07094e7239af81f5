"""The first code cell of every notebook: it fetches the kit where it is missing, and does nothing elsewhere."""

from __future__ import annotations

import hashlib
from string import Template

from nbformat import NotebookNode

from dlcvgrade.notebooks import make_cell

# The tag keeps it from being run when grading, where the kit is there and the network is not.
TAG = "demo"
_TEXT = Template(
    """\
# Fetches the course's kit where it is missing, as on Colab; elsewhere this cell does nothing.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("dlcvkit") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "git+$repository"], check=True)
    importlib.invalidate_caches()"""
)


def opening_cell(repository: str) -> NotebookNode:
    """Return the cell.

    Args:
        repository: Where the kit is fetched from, as ``git clone`` takes it.
    """
    text = _TEXT.substitute(repository=repository)
    return make_cell("code", text, hashlib.sha256(text.encode()).hexdigest()[:16], {"tags": [TAG]})


def with_opening(notebook: NotebookNode, repository: str) -> None:
    """Put the cell before the first code cell of a notebook, which is changed; one without code stays as it is."""
    first = next((number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"), None)
    if first is not None:
        notebook.cells.insert(first, opening_cell(repository))
