"""What no text of a cell can do to a submission: each function is the ``change`` of an entry."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from dlcvgrade.attacks.corpus import Place
from dlcvgrade.notebooks import make_cell

REPORT = "application/vnd.dlcvkit.report+json"
PAYS = "import sys\nfor name in ('check', 'hidden_check', 'allclose', 'equal'):\n    globals()[name] = lambda *a: 4.0\n"


def _shadow(folder: Path, name: str) -> None:
    """Plant a module that leaves a mark beside the course's folder where it is imported."""
    course = folder.parents[2]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"open({str(course / 'IMPORTED')!r}, 'a').write(__name__)\n{PAYS}")


# gradebook


def writes_to_the_known_gradebook(place: Place) -> None:
    path = str(place.course / "gradebook.db")
    place.cell("predict_labels").source = (
        "def predict_labels(dists, y_train, k):\n"
        "    import sqlite3\n"
        "    try:\n"
        f"        db = sqlite3.connect({path!r})\n"
        "        for column in ('score', 'manual_score', 'auto_score'):\n"
        "            try:\n"
        "                db.execute(f'update grade set {column} = 4')\n"
        "            except sqlite3.Error:\n"
        "                pass\n"
        "        db.commit()\n"
        "    except sqlite3.Error:\n"
        "        pass\n"
        "    return y_train[: len(dists)] * 0\n"
    )


def plants_a_configuration(place: Place) -> None:
    for name in ("nbgrader_config.py", "jupyter_config.py", "jupyter_nbconvert_config.py", "ipython_config.py"):
        _shadow(place.folder, name)
    (place.folder / "course.toml").write_text("[course]\nid = 'mine'\n")


def plants_an_odd_timestamp(place: Place) -> None:
    (place.folder / "timestamp.txt").write_text("9999-99-99 99:99:99 UTC\n" + "x" * 10_000)


# files


def plants_torch(place: Place) -> None:
    for name in ("torch.py", "nbformat.py", "json.py", "dlcvgrade.py"):
        _shadow(place.folder, name)


def plants_numpy(place: Place) -> None:
    for name in ("numpy/__init__.py", "torch/__init__.py", "safetensors/torch.py", "IPython/__init__.py"):
        _shadow(place.folder, name)


def plants_sitecustomize(place: Place) -> None:
    for name in ("sitecustomize.py", "usercustomize.py", "conftest.py", "setup.py", "evil.pth", "dlcvkit_calls.py"):
        _shadow(place.folder, name)


def plants_the_kit(place: Place) -> None:
    for name in ("dlcvkit/__init__.py", "dlcvkit/checking/__init__.py"):
        _shadow(place.folder, name)
    place.cell("predict_labels").source += "\nsys.path.insert(0, os.getcwd())\n"


def plants_dist_info(place: Place) -> None:
    folder = place.folder / "evil-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[pytest11]\nevil = evil\n[nbconvert.exporters]\nnotebook = evil:Evil\n")
    _shadow(place.folder, "evil.py")


def links_to_the_neighbours_notebook(place: Place) -> None:
    (place.folder / "knn.ipynb").symlink_to(place.neighbour / "knn.ipynb")
    place.content = b""


def links_to_the_neighbours_folder(place: Place) -> None:
    place.folder.rmdir()
    place.folder.symlink_to(place.neighbour, target_is_directory=True)
    place.content = b""


def is_a_link_to_the_neighbour(place: Place) -> None:
    student = place.folder.parent
    shutil.rmtree(student)
    student.symlink_to(place.neighbour.parent, target_is_directory=True)
    place.content = b""


def hard_links_the_neighbours_notebook(place: Place) -> None:
    os.link(place.neighbour / "knn.ipynb", place.folder / "knn.ipynb")
    place.content = b""


def links_to_a_device(place: Place) -> None:
    (place.folder / "knn.ipynb").symlink_to("/dev/zero")
    (place.folder / "data.bin").symlink_to("/dev/zero")
    place.content = b""


def is_a_pipe(place: Place) -> None:
    os.mkfifo(place.folder / "knn.ipynb")
    place.content = b""


def is_a_folder(place: Place) -> None:
    (place.folder / "knn.ipynb").mkdir()
    place.content = b""


def links_its_answer(place: Place) -> None:
    (place.folder / "linear_weights.safetensors").symlink_to(place.course / "gradebook.db")


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch IMPORTED",)


def pickles_its_answer(place: Place) -> None:
    (place.folder / "linear_weights.safetensors").write_bytes(pickle.dumps(_Runs()))


def answers_with_a_bomb(place: Place) -> None:
    tensors = {"W": {"dtype": "F32", "shape": [2**29, 2**29], "data_offsets": [0, 2**60]}}
    header = json.dumps(tensors).encode()
    (place.folder / "linear_weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def answers_with_a_pipe(place: Place) -> None:
    os.mkfifo(place.folder / "linear_weights.safetensors")


def has_traps_beside_it(place: Place) -> None:
    for number, target in enumerate(("/dev/zero", "/etc/passwd", str(place.course / "gradebook.db"))):
        (place.folder / f"link-{number}.txt").symlink_to(target)
    (place.folder / "course").symlink_to(place.course, target_is_directory=True)
    os.link(place.course / "course.toml", place.folder / "other.txt")
    os.mkfifo(place.folder / "pipe.txt")
    with (place.folder / "large.txt").open("wb") as file:
        file.truncate(2**40)
    many = place.folder / "many"
    many.mkdir()
    for number in range(1_500):
        (many / f"{number}.txt").touch()


def pipes_its_timestamp(place: Place) -> None:
    os.mkfifo(place.folder / "timestamp.txt")


def hands_in_many_notebooks(place: Place) -> None:
    for number in range(300):
        (place.folder / f"more-{number}.ipynb").write_text("{}")


def plants_odd_names(place: Place) -> None:
    names = ["=1+1.txt", "\x1b[2J.txt", "..\\..\\evil.txt", "a\nb.txt", "-rf", "\u202egpj.exe", "x" * 250]
    for name in [*(name.encode() for name in names), b"\xff\xfe.txt", b"knn.ipynb\xff"]:
        with open(os.path.join(os.fsencode(place.folder), name), "wb") as file:
            file.write(b"odd")


def plants_many_files(place: Place) -> None:
    folder = place.folder / "many"
    folder.mkdir()
    for number in range(100_000):
        (folder / f"{number}").touch()


def plants_a_zip(place: Place) -> None:
    with zipfile.ZipFile(place.folder / "more.zip", "w") as archive:
        for name in ("../../../IMPORTED", "/IMPORTED", "..\\..\\IMPORTED", "a/../../../../IMPORTED"):
            archive.writestr(name, "escaped")


def plants_a_zip_bomb(place: Place) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10_000_000))
    with zipfile.ZipFile(place.folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(1000):
            archive.writestr(f"{number}.zip", inner.getvalue()[:2000])


def plants_deep_folders(place: Place) -> None:
    path = place.folder
    for _ in range(60):
        path = path / ("d" * 40)
    path.mkdir(parents=True)


# notebook


def deletes_checks(place: Place) -> None:
    place.leave_empty()
    graded = place.checks()
    place.notebook.cells = [cell for cell in place.notebook.cells if cell not in graded]


def duplicates_checks(place: Place) -> None:
    place.leave_empty()
    for number, cell in enumerate([*place.checks(), *place.checks()]):
        again = deepcopy(cell)
        again.id, again.source = f"again-{number}", "4.0"
        place.notebook.cells.insert(3 + number, again)


def edits_checks(place: Place) -> None:
    place.leave_empty()
    for cell in place.checks():
        cell.source = "4.0"


def edits_points(place: Place) -> None:
    edits_checks(place)
    for cell in place.checks():
        cell.metadata["nbgrader"] |= {"points": 1000, "locked": False, "solution": True}


def retypes_checks(place: Place) -> None:
    place.leave_empty()
    for cell in place.checks():
        cell.cell_type = "markdown"
        cell.metadata["nbgrader"]["cell_type"] = "markdown"
        del cell["outputs"], cell["execution_count"]


def splits_checks(place: Place) -> None:
    place.leave_empty()
    cells: list[NotebookNode] = []
    graded = place.checks()
    for number, cell in enumerate(place.notebook.cells):
        cells.append(cell)
        if cell in graded:
            other = deepcopy(cell)
            other.id, other.source, cell.source = f"half-{number}", "4.0", "import torch"
            cells.append(other)
    place.notebook.cells = cells


def reorders_cells(place: Place) -> None:
    place.leave_empty()
    place.notebook.cells.reverse()


def swaps_ids(place: Place) -> None:
    easy, hard = place.cell("predict_labels"), place.cell("kfold_indices")
    hard.source = "def kfold_indices(n, folds):\n    return None\n"
    easy.metadata["nbgrader"]["grade_id"] = "kfold_indices"
    hard.metadata["nbgrader"]["grade_id"] = "predict_labels"
    easy.id, hard.id = hard.id, easy.id


def claims_to_grade(place: Place) -> None:
    place.leave_empty()
    for number, name in enumerate(("predict_labels", "kfold_indices", "compute_distances_no_loops")):
        entry = place.cell(name).metadata["nbgrader"]
        entry |= {"grade": True, "points": 1000, "grade_id": f"mine-{number}"}
    for cell in place.checks():
        cell.source = "4.0"


def forges_outputs(place: Place) -> None:
    place.leave_empty()
    for cell in place.checks():
        told = {"exercise": "a1/kfold_indices", "hidden": True, "verdict": "pass", "points": 4.0}
        data = {REPORT: told, "text/plain": "4.0"}
        output = {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": 1}
        cell.outputs = [NotebookNode(output)]
        cell.execution_count = 1


def asks_for_another_kernel(place: Place) -> None:
    place.notebook.metadata["kernelspec"] = {"name": "../../evil", "display_name": "; touch IMPORTED", "language": "sh"}
    place.notebook.metadata["language_info"] = {"name": "bash", "pygments_lexer": "'><script>alert(1)</script>"}


def claims_an_old_schema(place: Place) -> None:
    for number, cell in enumerate(place.checks()):
        cell.metadata["nbgrader"]["schema_version"] = (1, 2, 99, "x", None)[number % 5]


def is_of_format_3(place: Place) -> None:
    cells = [{"cell_type": "code", "language": "python", "collapsed": False, "metadata": {}, "outputs": [],
              "input": 'def check(*a):\n    return 4.0\ncheck("a1/predict_labels")\n4.0'}] * 3  # fmt: skip
    for cell in place.checks():
        entry = {"nbgrader": {**cell.metadata["nbgrader"], "points": 1000}}
        cells.append({"cell_type": "code", "language": "python", "metadata": entry, "input": "4.0", "outputs": []})
    worksheets = [{"cells": cells, "metadata": {}}]
    place.content = json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": worksheets}).encode()


def is_of_format_99(place: Place) -> None:
    place.content = json.dumps({**place.notebook, "nbformat": 99}).encode()


def is_malformed(place: Place) -> None:
    content = json.dumps(place.notebook).encode()
    place.content = content[: len(content) // 2]


def is_deep(place: Place) -> None:
    place.content = b'{"nbformat": 4, "cells": ' + b"[" * 100_000


def has_nul(place: Place) -> None:
    cell = place.cell("predict_labels")
    cell.source += "\n# \x00 \ud800 \ufeff"
    place.content = b"\xef\xbb\xbf" + json.dumps(place.notebook).encode()


def has_huge_outputs(place: Place) -> None:
    data = {"output_type": "stream", "name": "stdout", "text": "x" * 200_000_000}
    place.cell("predict_labels").outputs = [NotebookNode(data)]


def has_huge_code(place: Place) -> None:
    place.leave_empty()
    for number in range(15):
        place.notebook.cells.append(make_cell("code", f"x{number} = [" + "1," * 1_000_000 + "]", f"huge-{number}"))


def has_near_demos(place: Place) -> None:
    demo = 'raise RuntimeError("a demo is not run when grading")'
    draw = random.Random(0)
    for number in range(20_000):
        letters = list(demo)
        for _ in range(4):
            i, j = draw.randrange(len(letters)), draw.randrange(len(letters))
            letters[i], letters[j] = letters[j], letters[i]
        place.notebook.cells.append(make_cell("code", "#" + "".join(letters), f"near-{number}"))


def has_many_cells(place: Place) -> None:
    place.leave_empty()
    empty = make_cell("code", "x = 1", "many")
    place.notebook.cells += [{**empty, "id": f"many-{number}"} for number in range(100_000)]


def has_deep_code(place: Place) -> None:
    texts = [
        "(" * 5_000, "-" * 20_000 + "1", "x = " + "1+" * 10_000 + "1", "x" + ".a" * 10_000, "x" + "()" * 10_000,
        "lambda: " * 5_000 + "1", "not " * 10_000 + "1", "[" * 150 + "1" + "]" * 150, "f'{" * 1000, "%time " * 1_000,
        "!" * 10_000, "?" * 10_000, "a = b = " * 5_000 + "1", "x[" * 5_000, "await " * 5_000, "\\\n" * 10_000,
        "if 1:\n" + "".join(" " * i + "if 1:\n" for i in range(1, 99)) + " " * 99 + "pass",
        "'" * 99_999, "1 if 1 else " * 5_000,
    ]  # fmt: skip
    for number, text in enumerate(texts):
        place.notebook.cells.append(make_cell("code", text, f"deep-{number}"))


def has_bash_cells(place: Place) -> None:
    script = "for f in ../../../*.db; do echo 'update grade set score = 4;' | sqlite3 $f; done; touch ../../../IMPORTED"
    texts = [f"%%bash\n{script}", f"!{script}", f"%%sh\n{script}", f"%system {script}", "%env HOME=/", "%cd ../../.."]
    for number, text in enumerate(texts):
        place.notebook.cells.insert(1, make_cell("code", text, f"shell-{number}"))


def runs_a_file(place: Place) -> None:
    _shadow(place.folder, "more.py")
    for number, text in enumerate(["%run more.py", "%load more.py", "import more", "exec(open('more.py').read())"]):
        place.notebook.cells.insert(3, make_cell("code", text, f"runs-{number}"))


# denial


def waits_in_forty_cells(place: Place) -> None:
    for number in range(40):
        place.notebook.cells.append(make_cell("code", "import time\ntime.sleep(1000)", f"waits-{number}"))


# viewers

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)><iframe srcdoc='<script>alert(3)</script>'></iframe>"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(4)"><script>alert(5)</script></svg>'


def _shows(place: Place, data: dict[str, str]) -> None:
    for cell in place.notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [NotebookNode({"output_type": "display_data", "data": data, "metadata": {}})]


def has_script_outputs(place: Place) -> None:
    _shows(place, {"text/html": SCRIPT, "application/javascript": "alert(6)", "text/plain": SCRIPT})


def has_svg_outputs(place: Place) -> None:
    _shows(place, {"image/svg+xml": SVG, "text/markdown": SCRIPT, "text/latex": "$\\href{javascript:alert(7)}{x}$"})


def has_script_in_text(place: Place) -> None:
    link = "[read me](javascript:alert(8)) ![x](x' onerror='alert(9))"
    texts = [
        SCRIPT, SVG, link, "# <a href='javascript:alert(10)'>x</a>",
        # nbconvert takes the prefix away after everything else.
        "<a href='files/javascript:alert(11)'>x</a> [y](files/javascript:alert(12))",
        "[x](java&#9;script:alert(13)) <a href='data:text/html,<script>alert(14)</script>'>x</a>",
        "<a href='&#100;a&#9;ta:text/html,<script>alert(19)</script>'>x</a> <img src='DATA:image/svg+xml,<svg/>'>",
        "<form action='/formgrader'><input id='check-predict_labels' class='score'><button>x</button></form>",
        "<style>body {display: none}</style><div style='position: fixed; top: 0' class='scoring-buttons'>x</div>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=alert(15)&gt;'>",
        "<base href='https://example.org'><meta http-equiv='refresh' content='0;url=javascript:alert(16)'>",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        place.notebook.cells.insert(1, make_cell("markdown", text, f"text-{number}"))
    for number, metadata in enumerate([{"raw_mimetype": "text/html"}, {}]):
        raw = {"cell_type": "raw", "id": f"raw-{number}", "metadata": metadata, "source": SCRIPT}
        place.notebook.cells.append(NotebookNode(raw))


def has_script_in_metadata(place: Place) -> None:
    tag = '"><script>alert(17)</script>'
    place.notebook.metadata["language_info"] = {"name": tag, "pygments_lexer": tag}
    place.notebook.metadata["title"] = tag
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"x": tag}}}
    place.notebook.metadata["widgets"] = state
    cell = make_cell("code", "%%foo\nx", "magic", {"magics_language": tag, "tags": [tag], "name": tag})
    place.notebook.cells.insert(1, cell)
    picture = make_cell("markdown", "![x](attachment:a.png)", "picture")
    picture["attachments"] = {"a.png": {'image/x" onerror="alert(18)': "eA=="}}
    place.notebook.cells.insert(1, picture)


def lacks_an_attachment(place: Place) -> None:
    place.notebook.cells.insert(1, make_cell("markdown", "![x](attachment:gone.png)", "picture"))


def hands_in_pages(place: Place) -> None:
    for name in ("more.html", "more.svg", "more.xhtml", "knn.html", "more.js", "MORE.HTM"):
        (place.folder / name).write_text(SVG if name.endswith("svg") else SCRIPT)
    place.notebook.cells.insert(1, make_cell("markdown", "[see here](more.html) ![and here](more.svg)", "see"))
