"""Notebooks as typed values: reading, writing and new cells, on top of nbformat, which has no types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def make_cell(cell_type: str, source: str, cell_id: str, metadata: Mapping[str, Any] | None = None) -> NotebookNode:
    """Return a new cell.

    Args:
        cell_type: ``code`` or ``markdown``.
        source: Its text.
        cell_id: Its id in the notebook.
        metadata: Its metadata; none if None.
    """
    make: Any = new_code_cell if cell_type == "code" else new_markdown_cell
    cell: NotebookNode = make(source, id=cell_id, metadata=dict(metadata or {}))
    return cell


def make_notebook(cells: Sequence[NotebookNode]) -> NotebookNode:
    """Return a new notebook for Python without outputs."""
    make: Any = new_notebook
    notebook: NotebookNode = make(
        cells=list(cells), metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    return notebook


def read_notebook(content: bytes) -> NotebookNode:
    """Return the notebook that ``content`` holds, upgraded to nbformat 4.

    Raises:
        ValueError: If it is no notebook.
    """
    read: Any = nbformat.reads
    notebook: NotebookNode = read(content.decode("utf-8-sig"), as_version=4)
    return notebook


def notebook_bytes(notebook: NotebookNode) -> bytes:
    """Return a notebook as it is written to disk: validated, keys sorted, one newline at the end."""
    write: Any = nbformat.writes
    nbformat.validate(notebook)
    text: str = write(notebook, version=4)
    return (text.rstrip("\n") + "\n").encode()
