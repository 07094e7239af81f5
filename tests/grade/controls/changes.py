"""What editors and honest students do to a notebook: each function is the ``change`` of an entry."""

from __future__ import annotations

import json
from copy import deepcopy

from nbformat import NotebookNode

from dlcvgrade.attacks.corpus import CELLS, Place
from dlcvgrade.notebooks import make_cell


def is_from_colab(place: Place) -> None:
    place.notebook.metadata = {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}
    place.notebook.nbformat_minor = 0
    for number, cell in enumerate(place.notebook.cells):
        cell.metadata = {"id": f"colab{number}", "colab": {"base_uri": "https://localhost"}}
        del cell["id"]


def is_from_vs_code(place: Place) -> None:
    for number, cell in enumerate(place.notebook.cells):
        cell.metadata = {"vscode": {"languageId": "python"}, "tags": []}
        cell.id = f"{number:08x}"


def is_of_format_4_0(place: Place) -> None:
    place.notebook.nbformat_minor = 0
    for cell in place.notebook.cells:
        del cell["id"]


def is_of_format_3(place: Place) -> None:
    cells = []
    for cell in place.notebook.cells:
        if cell.cell_type == "code":
            told = {"cell_type": "code", "input": cell.source, "language": "python", "outputs": [], "collapsed": False}
        else:
            told = {"cell_type": "markdown", "source": cell.source}
        cells.append({**told, "metadata": dict(cell.metadata)})
    sheet = {"cells": cells, "metadata": {}}
    place.content = json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [sheet]}).encode()


def has_lines(place: Place) -> None:
    for cell in place.notebook.cells:
        cell.source = cell.source.splitlines(keepends=True)


def has_windows_line_ends(place: Place) -> None:
    for cell in place.notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n")
    place.content = json.dumps(place.notebook, indent=1).replace("\n", "\r\n").encode()


def has_a_byte_order_mark(place: Place) -> None:
    place.content = b"\xef\xbb\xbf" + json.dumps(place.notebook).encode()


def reorders_functions(place: Place) -> None:
    head, rest = place.notebook.cells[:2], place.notebook.cells[2:]
    place.notebook.cells = [*head, *reversed(rest)]


def splits_a_cell(place: Place) -> None:
    cell = place.cell("predict_labels")
    other = make_cell("code", "def votes(labels):\n    return labels.mode(dim=1).values", "other-half")
    cell.source = "def predict_labels(dists, y_train, k):\n    return votes(y_train[dists.argsort(dim=1)[:, :k]])"
    place.notebook.cells.insert(place.notebook.cells.index(cell) + 1, other)


def merges_cells(place: Place) -> None:
    cells = [place.cell(name) for name in CELLS.values()]
    cells[0].source = "\n\n".join(cell.source for cell in cells)
    place.notebook.cells = [cell for cell in place.notebook.cells if cell not in cells[1:]]


def copies_cells(place: Place) -> None:
    for number, cell in enumerate(deepcopy(place.notebook.cells[2:])):
        cell.id = f"copy-{number}"
        place.notebook.cells.append(cell)


def deletes_checks(place: Place) -> None:
    graded = place.checks()
    place.notebook.cells = [cell for cell in place.notebook.cells if cell not in graded]


def adds_cells(place: Place) -> None:
    for number in range(200):
        text = f"x{number} = torch.ones({number} + 1)\nx{number}.mean()"
        place.notebook.cells.insert(2, make_cell("code", text, f"mine-{number}"))


def has_plots(place: Place) -> None:
    output = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo=" * 170_000}, "metadata": {}}
    place.cell("predict_labels").outputs = [NotebookNode(output)]


def has_another_kernel(place: Place) -> None:
    place.notebook.metadata["kernelspec"] = {"name": "my-env", "display_name": "my env", "language": "python"}
    place.notebook.metadata["language_info"] = {"name": "python", "version": "2.7.18"}


def has_tabs(place: Place) -> None:
    for name in CELLS.values():
        place.cell(name).source = place.cell(name).source.replace("    ", "\t")


def has_unicode(place: Place) -> None:
    cell = place.cell("predict_labels")
    cell.source = (
        "def nächste(δ, k):\n    # 🤖 ‖x − y‖²\n    return δ.argsort(dim=1)[:, :k]\n\n"
        "def predict_labels(dists, y_train, k):\n    return y_train[nächste(dists, k)].mode(dim=1).values\n"
    )
    place.notebook.cells.insert(1, make_cell("markdown", "# Näherungen 🤖 \\(∑\\)", "text"))


def has_files_beside(place: Place) -> None:
    for name in (".ipynb_checkpoints/knn-checkpoint.ipynb", "data/images.bin", ".DS_Store", "notes.txt", "knn.py"):
        (place.folder / name).parent.mkdir(exist_ok=True)
        (place.folder / name).write_bytes(b"\0" * 1000)
