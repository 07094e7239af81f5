"""The attacks that are worth handing in to nbgrader, all in one class that nbgrader autogrades with the judge."""

from __future__ import annotations

import base64
import copy
import os
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension
from traitlets.config import Config

from dlcvgrade.attacks.corpus import ANSWER, Entry, read_corpus
from dlcvgrade.attacks.trial import descendants
from dlcvgrade.build import write_build
from dlcvgrade.course import read_course
from dlcvgrade.judge import bench
from dlcvgrade.judge.intake import SHOWN
from dlcvgrade.judge.judged import REPORT
from dlcvgrade.notebooks import make_cell, read_notebook
from dlcvgrade.session import demand, failed, open_api

ENTRIES = {entry.name: entry for entry in read_corpus(Path(__file__).parent) if entry.is_for_nbgrader}
REFUSED = {
    "edits_its_timestamp": "timestamp.txt is no plain file",
    "pipe_for_a_timestamp": "timestamp.txt is no plain file",
    "student_called_a_formula": "holds '='",
    "student_called_like_a_path": "the student's id",
    "student_called_like_markup": "holds '<', '>'",
}
GRADED = sorted(set(ENTRIES) - set(REFUSED))
TEXT = """\
# Näherungen

Where $a<b$ and $$\\sum_i x_i$$ there is `code`, **more** and [a link](https://example.org/x?a=1&b=2).

![plot](plot.png) ![pasted](attachment:x.png)

| a | b |
|---|---|
| 1 | <b>2</b> |

```python
def f(x): return x < 1
```
"""
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def adds_files_and_text(place):
    (place.folder / "plot.png").write_bytes(base64.b64decode(PIXEL))
    (place.folder / "data").mkdir()
    (place.folder / "data" / "notes.txt").write_text("notes")
    (place.folder / "scratch.ipynb").write_text("{}")
    (place.folder / "timestamp.txt").write_text("2027-02-01 12:00:00 UTC")
    cell = make_cell("markdown", TEXT, "text")
    cell["attachments"] = {"x.png": {"image/png": PIXEL}}
    place.notebook.cells.insert(1, cell)


MISSES = "def kfold_indices(n, folds):\n    return [(torch.arange(n), torch.arange(n))] * folds\n"
HONEST = Entry("honest", "", "is half right", cells={"kfold_indices": MISSES}, change=adds_files_and_text)
FIRST, LAST = "a-first", "zz-last"
"""Come before and after everybody else in nbgrader's order."""
OF_STUDENTS = {"student", "submitted_assignment", "submitted_notebook", "grade", "comment"}
WRITTEN = ("gradebook.db", "submitted", "autograded", "feedback", "build/exchange")


def student_of(entry: Entry) -> str:
    return entry.name if entry.student == "attacker" else entry.student


class Books:
    """A class in a folder of its own, and what nbgrader has written down about it."""

    def __init__(self, ground, root: Path) -> None:
        shutil.copytree(ground.course.root, root, ignore=shutil.ignore_patterns("*.db", "submitted"))
        course = read_course(root)
        write_build(course, ground.built)
        self.root, self._correct = root, ground.correct
        self.api = open_api(course, root)
        demand(self.api.generate_assignment, "a1")

    def hand_in(self, entry: Entry, student: str) -> None:
        folder = self.root / "submitted" / student / "a1"
        folder.mkdir(parents=True)
        entry.hand_in(copy.deepcopy(self._correct), folder, self.root, self.root / "submitted" / FIRST / "a1")

    def table(self, query: str) -> list[tuple]:
        with sqlite3.connect(self.root / "gradebook.db") as gradebook:
            rows = gradebook.execute(query).fetchall()
        gradebook.close()
        return sorted(rows, key=repr)

    def grades(self, student: str) -> dict[str, tuple]:
        """Return grade id to automatic and manual points, extra credit, and whether somebody has to look."""
        rows = self.table(
            "select base_cell.name, auto_score, manual_score, extra_credit, needs_manual_grade, student_id from grade "
            "join base_cell on base_cell.id = grade.cell_id "
            "join submitted_notebook on submitted_notebook.id = grade.notebook_id "
            "join submitted_assignment on submitted_assignment.id = submitted_notebook.assignment_id"
        )
        return {row[0]: row[1:5] for row in rows if row[5] == student}

    def rest(self) -> dict[str, list[tuple]]:
        """Return the tables that grading has no business with."""
        names = [name for (name,) in self.table("select name from sqlite_master where type = 'table'")]
        return {name: self.table(f'select * from "{name}"') for name in names if name not in OF_STUDENTS}

    def files(self) -> set[str]:
        """Return the files that are there, those apart that nbgrader writes."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {name for name in found if not name.startswith(WRITTEN) and "__pycache__" not in name}

    def notebook(self, student: str) -> Path:
        return self.root / "autograded" / student / "a1" / "knn.ipynb"

    def verdicts(self, student: str) -> dict[str, str]:
        cells = read_notebook(self.notebook(student).read_bytes()).cells
        reports = [output.data[REPORT] for cell in cells for output in cell.get("outputs", [])]
        return {report["exercise"]: report["verdict"] for report in reports}


@pytest.fixture(scope="module")
def books(ground, tmp_path_factory):
    """A class that was graded before and after the attackers came, with its feedback written."""
    books = Books(ground, tmp_path_factory.mktemp("nbgrader") / "course")
    for student in (FIRST, LAST):
        books.hand_in(HONEST, student)
    demand(books.api.autograde, "a1", "*")
    books.before = {student: books.grades(student) for student in (FIRST, LAST)}
    books.rest_before, books.files_before = books.rest(), books.files()
    books.processes_before = len(descendants(os.getpid()))
    for entry in ENTRIES.values():
        books.hand_in(entry, student_of(entry))
    told = {}
    assert failed(lambda *arguments: told.update(books.api.autograde(*arguments)) or told, "a1", "*")
    books.log = told["log"]
    demand(books.api.generate_feedback, "a1")
    yield books
    bench.close_benches()


def test_the_class_is_large_enough():
    assert len(ENTRIES) >= 30
    assert {"gradebook", "files", "notebook", "viewers"} <= {entry.family for entry in ENTRIES.values()}


# Few tests go over many attacks: each process that gets one of them has the class graded for itself.


def test_attackers_gain_nothing_in_the_gradebook(books):
    wrong = {}
    for name in GRADED:
        entry = ENTRIES[name]
        grades = books.grades(student_of(entry))
        for exercise in entry.target:
            points, by_hand, extra, _ = grades[f"check-{exercise.partition('/')[2]}"]
            if (points, by_hand, extra) != (0.0, None, None):
                wrong[name, exercise] = points, by_hand, extra
        for exercise, verdict in books.verdicts(student_of(entry)).items():
            wanted = entry.verdict if exercise in entry.target else ("missing",) if exercise == ANSWER else entry.others
            if verdict not in wanted:
                wrong[name, exercise] = verdict
    assert wrong == {}


def test_who_is_refused_gets_no_points_and_is_told(books):
    for name, told in REFUSED.items():
        student = student_of(ENTRIES[name])
        assert books.grades(student) == {}
        assert not books.notebook(student).exists()
        assert told in books.log


def test_nobody_else_is_refused(books):
    graded = {path.name for path in (books.root / "autograded").iterdir()}
    assert graded == {FIRST, LAST, *(student_of(entry) for entry in ENTRIES.values() if entry.name not in REFUSED)}


def test_gradebook_is_untouched_for_everybody_else(books):
    for student in (FIRST, LAST):
        assert books.grades(student) == books.before[student]
        assert sum(points for points, *_ in books.before[student].values() if points) == 12.0
        assert books.verdicts(student)["a1/kfold_indices"] == "wrong"
    assert books.rest() == books.rest_before
    assert books.files() == books.files_before
    assert len(descendants(os.getpid())) == books.processes_before


def test_change_of_the_gradebook_is_noticed(books):
    kept = (books.root / "gradebook.db").read_bytes()
    for column, table in (("max_score", "grade_cells"), ("auto_score", "grade")):
        with sqlite3.connect(books.root / "gradebook.db") as gradebook:
            gradebook.execute(f"update {table} set {column} = {column} + 1")
        gradebook.close()
        is_same = books.rest() == books.rest_before and books.grades(FIRST) == books.before[FIRST]
        (books.root / "gradebook.db").write_bytes(kept)
        assert not is_same, table


# what lies beside a notebook


def test_plain_files_come_along(books):
    for student in (FIRST, LAST):
        home = books.notebook(student).parent
        names = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
        assert names == {"knn.ipynb", "plot.png", "data/notes.txt", "timestamp.txt"}


def test_nothing_else_comes_along(books):
    paths = [path for folder in ("autograded", "feedback") for path in (books.root / folder).rglob("*")]
    assert paths
    for path in paths:
        assert not path.is_symlink()
        assert path.is_dir() or (path.is_file() and path.stat().st_size < 2**20)
        is_ours = path.name == "knn.html" and path.is_relative_to(books.root / "feedback")
        assert path.is_dir() or is_ours or path.suffix in {".ipynb", *SHOWN}, path
    assert not list((books.root / "autograded/traps_beside_the_notebook/a1").glob("*.txt"))


# what a browser shows

LIVE_TAGS = """script iframe frame object embed svg math form input button textarea select base meta link style template
    audio video applet""".split()
ADDRESSES = ("href", "src", "action", "formaction", "data", "srcdoc", "xlink:href", "background")


def live(page: str) -> set[str]:
    """Return what of a page does something by itself or at a click, or could be taken for a part of formgrader."""
    found = set()
    for tag in BeautifulSoup(page, "html.parser").find_all(True):
        if tag.name in LIVE_TAGS:
            found.add(str(tag))
        for name, value in tag.attrs.items():
            told = "".join(value).lower() if isinstance(value, list) else str(value).lower()
            scheme = re.match(r"[a-z+.-]+:", re.sub(r"[\x00-\x20]", "", told))
            is_bad = scheme and scheme[0] not in ("https:", "http:", "mailto:")
            is_picture = tag.name == "img" and told.startswith("data:image/png;base64,")
            if (
                name.startswith("on")
                or (name == "id" and not told.startswith("cell-id="))
                or "fixed" in told
                or "scoring" in told
            ):
                found.add(f"{tag.name} {name}={told}")
            if name in ADDRESSES and is_bad and not is_picture:
                found.add(f"{tag.name} {name}={told}")
    return found


def formgrader_page(books, student: str, ours: bool = True) -> str:
    """Return the page that formgrader shows of a submission, from an exporter made as it makes its own."""
    config = copy.deepcopy(books.api.config) if ours else Config()
    config.merge(FormgradeExtension().build_extra_config())
    resources = {
        "assignment_id": "a1", "notebook_id": "knn", "submission_id": "0", "index": 0, "total": 1, "base_url": "",
        "student": "<img src=x onerror=alert(0)>", "last_name": None, "first_name": None, "notebook_path": "x",
    }  # fmt: skip
    return HTMLExporter(config=config).from_filename(str(books.notebook(student)), resources=resources)[0]


@pytest.fixture(scope="module")
def honest_page(books):
    page = formgrader_page(books, FIRST)
    assert live(page), "a page of formgrader's has scripts of its own"
    return page


def test_no_page_runs_what_a_student_wrote(books, honest_page):
    feedback = books.root / "feedback"
    honest = live((feedback / FIRST / "a1" / "knn.html").read_text()), live(honest_page)
    wrong = {}
    for name in GRADED:
        student = student_of(ENTRIES[name])
        pages = (feedback / student / "a1" / "knn.html").read_text(), formgrader_page(books, student)
        more = [live(page) - usual for page, usual in zip(pages, honest, strict=True)]
        if any(more):
            wrong[name] = more
    assert wrong == {}


def test_honest_text_is_shown_as_it_is_meant(books, honest_page):
    for page in (honest_page, (books.root / "feedback" / FIRST / "a1" / "knn.html").read_text()):
        soup = BeautifulSoup(page, "html.parser")
        (cell,) = [cell for cell in soup.select(".text_cell_render") if "Näherungen" in cell.text]
        assert cell.h1.text == "Näherungen"
        assert "$a<b$" in cell.text and "$$\\sum_i x_i$$" in cell.text
        assert [image["src"] for image in cell.select("img")] == ["plot.png", f"data:image/png;base64,{PIXEL}"]
        assert cell.a["href"] == "https://example.org/x?a=1&b=2"
        assert [td.text for td in cell.select("td")] == ["1", "2"] and cell.td.find_next("b")
        assert cell.select_one(".highlight span.k").text == "def"
        assert ",Safe" in page  # MathJax leaves out scripts in formulas
        reports = soup.select("div[aria-label^='a1/kfold_indices']")
        assert reports and "border-left" in reports[0]["style"]


@pytest.mark.filterwarnings("ignore:No lexer found")
@pytest.mark.parametrize("name", ["markdown_with_script", "metadata_with_script"])
def test_script_in_a_page_is_noticed(books, honest_page, name):
    """The same notebooks in nbconvert's own hands."""
    assert len(live(formgrader_page(books, name, ours=False)) - live(honest_page)) >= (8 if "markdown" in name else 1)


def test_text_that_cannot_be_rendered_stops_no_page(books):
    assert "attachment:gone.png" in formgrader_page(books, "attachment_that_is_missing")
