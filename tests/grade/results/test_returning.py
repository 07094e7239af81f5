from __future__ import annotations

import re
import zipfile

import pytest

from dlcvgrade.handins.systems import HandIn
from dlcvgrade.results.returning import returned_name

CANVAS = ["lovelaceada_11_900_knn.ipynb", "lovelaceada_11_905_features-1.ipynb", "hopper_LATE_12_901_knn.ipynb"]
MOODLE = ["Ada Lovelace_501_assignsubmission_file_/knn.ipynb", "hopper_502_assignsubmission_file_knn.ipynb"]
HOSTILE_NAMES = [
    "_12_901_",
    "12_901",
    "12",
    "1_eve",
    "anon",
    "Anon",
    "LATE",
    "anon_12_901",
    "Eve_12_assignsubmission_file_x",
    "../../etc/passwd",
    "..\\..\\x",
    "C:/x",
    ".hidden",
    "~eve",
    "._eve",
    "eve\n12_901_x",
    "eve\x00\u202e",
    "link",
    "<script>",
    "\ud800",
    "...",
    "",
    "José Ñandú",
    "x" * 10_000,
]


def canvas_reads(name):
    """Return user and file as Canvas finds them in a name; see the source that returning.py names."""
    parts = [part for part in name.rpartition("/")[2].split("_") if part != "LATE"]
    if parts[0] == "anon" or parts[-1].startswith("link") or name.startswith("._"):
        return None
    numbers = [part for part in parts if re.search(r"^[0-9]+$", part, re.MULTILINE)]
    return tuple(numbers[:2]) if len(numbers) > 1 else None


def moodle_reads(name):
    """Return participant, kind, plugin and file as Moodle finds them in a name."""
    if name.startswith((".", "~")):
        return None
    for part in name.split("/"):
        info = part.split("_", 4)
        if len(info) >= 4 and info[1].isdecimal():
            return tuple(info[1:])
    return None


READERS = {
    "canvas": (canvas_reads, ("11", "905"), ("12", "901")),
    "moodle": (
        moodle_reads,
        ("501", "assignsubmission", "file", "feedback.html"),
        ("502", "assignsubmission", "file", "feedback.html"),
    ),
}


def fill(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def contents(path):
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


@pytest.fixture
def download(tmp_path):
    """A function that makes a download of Canvas or Moodle: Ada's and Grace Hopper's work, or the names given."""

    def download(system, names=None):
        return fill(tmp_path / system, {"canvas": CANVAS, "moodle": MOODLE}[system] if names is None else names)

    return download


@pytest.fixture
def pages(dlcvgrade, folder, tmp_path):
    """A function that has `feedback` write the pages of all results."""

    def pages():
        assert dlcvgrade("feedback", folder, "--out", tmp_path / "pages")[0] == 0
        return tmp_path / "pages"

    return pages


@pytest.fixture
def give_back(dlcvgrade, folder, tmp_path):
    """A function that runs the command; it returns exit code, output, errors and the zip's path."""

    def give_back(system, download, pages, *more, name="feedback.zip"):
        out = tmp_path / name
        arguments = ("--to", system, "--download", download, "--pages", pages, "--out", out, *more)
        return *dlcvgrade("export", folder, *arguments), out

    return give_back


@pytest.fixture
def graded(put, result_json):
    """A function that writes a result of full points for each student."""
    return lambda *students: [put(result_json(student)) for student in students]


ADA = {"canvas": "lovelaceada", "moodle": "Ada_Lovelace"}


@pytest.mark.parametrize("system", ADA)
def test_each_student_gets_their_own_page_and_nothing_else_is_sent(give_back, graded, download, pages, system):
    graded(ADA[system], "hopper")
    made = pages()
    code, said, errors, out = give_back(system, download(system), made)
    assert (code, errors) == (0, "")
    assert said.startswith(f"2 pages in {out}")
    read, ada, hopper = READERS[system]
    found = {read(name): text for name, text in contents(out).items()}
    assert sorted(found) == [ada, hopper]
    assert "lovelace" in found[ada].lower() and "hopper" not in found[ada]
    assert found[hopper] == (made / "students/hopper.html").read_text()


def test_canvas_names_of_pages_are_told(give_back, graded, download, pages):
    graded("lovelaceada", "hopper")
    said = give_back("canvas", download("canvas"), pages())[1]
    assert said.endswith("feedback.zip; Canvas will show each under the name of the student's own file\n")


@pytest.mark.parametrize("system", ADA)
def test_a_zip_is_read_like_a_folder_and_none_of_it_is_unpacked(
    give_back, graded, download, pages, tmp_path, system, monkeypatch
):
    graded(ADA[system], "hopper")
    source = tmp_path / "submissions.zip"
    with zipfile.ZipFile(source, "w") as bundle:
        for path in sorted(download(system).rglob("*.ipynb")):
            bundle.write(path, path.relative_to(tmp_path))
    monkeypatch.setattr("dlcvgrade.handins.archives._extract", lambda *_: pytest.fail("a file was unpacked"))
    code, _, errors, out = give_back(system, source, pages())
    assert (code, errors) == (0, "")
    assert len(contents(out)) == 2


def test_the_same_pages_make_the_same_zip(give_back, graded, download, pages):
    graded("lovelaceada", "hopper")
    made, source = pages(), download("canvas")
    outs = [give_back("canvas", source, made, name=f"{number}.zip")[3] for number in range(2)]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    with zipfile.ZipFile(outs[0]) as bundle:
        assert {info.date_time for info in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(("system", "number"), [("canvas", "4711"), ("moodle", "Participant 4711")])
def test_the_roster_of_the_import_finds_students_by_their_ids(
    give_back, graded, download, pages, tmp_path, system, number
):
    graded("al1815")
    names = {"canvas": ["x_4711_7_knn.ipynb"], "moodle": ["X_4711_assignsubmission_file_/knn.ipynb"]}[system]
    columns = {"canvas": "ID,SIS Login ID", "moodle": "Identifier,Email address"}[system]
    (tmp_path / "r.csv").write_text(f"{columns}\n{number},al1815@example.org\n")
    source, made = download(system, names), pages()
    code, _, errors, out = give_back(system, source, made, "--roster", tmp_path / "r.csv")
    assert (code, errors) == (0, "")
    assert [READERS[system][0](name)[0] for name in contents(out)] == ["4711"]
    code, _, errors, _ = give_back(system, source, made, name="none.zip")
    assert code == 2
    assert "al1815 is not in" in errors and "expected the download, and the roster if any, that was imported" in errors


def test_students_of_one_name_get_their_own_pages(give_back, graded, download, pages):
    graded("ada-11", "ada-12")
    code, _, _, out = give_back("canvas", download("canvas", ["ada_11_900_knn.ipynb", "ada_12_901_knn.ipynb"]), pages())
    assert code == 0
    found = {canvas_reads(name): text for name, text in contents(out).items()}
    assert "ada-11" in found["11", "900"] and "ada-12" in found["12", "901"]


def test_one_who_is_two_for_the_platform_gets_no_page_of_either(give_back, graded, download, pages, tmp_path):
    graded("ada", "hopper")
    (tmp_path / "r.csv").write_text(
        "Identifier,Email address\nParticipant 1,ada@a.org\nParticipant 2,ada@b.org\nParticipant 3,hopper@a.org\n"
    )
    source = download("moodle", [f"Ada {n}_{n}_assignsubmission_file_/knn.ipynb" for n in (1, 2, 3)])
    code, _, errors, out = give_back("moodle", source, pages(), "--roster", tmp_path / "r.csv")
    assert code == 2
    told = f"ada has several numbers in {source}; expected one, so nobody gets this page"
    assert errors == f"dlcvgrade: ada.json: {told}\n"
    assert [moodle_reads(name)[0] for name in contents(out)] == ["3"]


def test_whoever_is_on_one_side_alone_is_told_and_the_rest_is_written(
    give_back, graded, put, result_json, download, pages, folder
):
    graded("hopper", "stranger", "unpaged")
    put(result_json("twice"), "one")
    put(result_json("twice"), "two")
    made = pages()
    (made / "students/unpaged.html").unlink()
    names = ["hopper_12_901_knn.ipynb", "unpaged_13_902_knn.ipynb", "twice_14_903_knn.ipynb", "late_15_904_knn.ipynb"]
    source = download("canvas", names)
    (folder / "broken.json").write_text("{")
    code, said, errors, out = give_back("canvas", source, made)
    assert code == 2 and said.startswith("1 page in ")
    assert list(contents(out)) == ["hopper_12_901_feedback.html"]
    lines = [line.removeprefix("dlcvgrade: ") for line in errors.splitlines()]
    assert lines[0].startswith("broken.json: is no JSON")
    assert lines[1].startswith("one.json: is one of 2 results of twice")
    assert lines[2].startswith("two.json: is one of 2 results of twice")
    assert lines[3:] == [
        f"stranger.json: stranger is not in {source}; expected the download, and the roster if any, that was imported",
        f"unpaged.json: unpaged has no page students/unpaged.html in {made}; expected one of `dlcvgrade feedback`",
        f"{source}: late has no result; expected one",
    ]


@pytest.mark.parametrize("system", READERS)
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_no_students_name_leads_a_page_to_somebody_else(system, name):
    made = returned_name(HandIn(name, "77", 888), system)
    read = READERS[system][0](made)
    assert read[:2] == (("77", "888") if system == "canvas" else ("77", "assignsubmission"))
    assert read[-1] == ("888" if system == "canvas" else "feedback.html")
    assert not re.search(r"""[/\\:*?"<>|\s]""", made) and made.isprintable() and len(made) < 140


def test_the_readers_of_names_notice_names_that_lead_elsewhere():
    assert canvas_reads("12_901_77_888_feedback.html") == ("12", "901")
    assert canvas_reads("anon_77_888_feedback.html") is None
    assert moodle_reads("~eve_77_assignsubmission_file_feedback.html") is None
    assert moodle_reads("Eve_12_assignsubmission_file_77_assignsubmission_file_x")[0] == "12"


def test_a_students_file_named_like_somebody_elses_work_leads_nowhere(give_back, graded, download, pages):
    graded("Eve", "hopper")
    names = [
        "Eve_501_assignsubmission_file_x_502_assignsubmission_file_knn.ipynb",
        "hopper_502_assignsubmission_file_knn.ipynb",
    ]
    code, _, errors, out = give_back("moodle", download("moodle", names), pages())
    assert (code, errors) == (0, "")
    assert sorted(contents(out)) == [
        "Eve_501_assignsubmission_file_feedback.html",
        "hopper_502_assignsubmission_file_feedback.html",
    ]


def test_names_in_a_hostile_zip_are_not_used(give_back, graded, pages, tmp_path):
    graded("hopper")
    source = tmp_path / "submissions.zip"
    names = ["../hopper_66_1_knn.ipynb", "/hopper_67_2_knn.ipynb", "hopper_12_901_knn.ipynb", "a_5/hopper_68_3_k.ipynb"]
    with zipfile.ZipFile(source, "w") as bundle:
        for name in names:
            bundle.writestr(name, "{}")
    code, _, _, out = give_back("canvas", source, pages())
    assert code == 0
    assert list(contents(out)) == ["hopper_12_901_feedback.html"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--to canvas --download {new} --pages {pages} --out {out}", "does not exist; expected a folder or a zip"),
        ("--to canvas --download {file} --pages {pages} --out {out}", "is no zip; expected a folder or a zip"),
        ("--to canvas --download {empty} --pages {pages} --out {out}", "holds no hand-in as canvas names them"),
        ("--to moodle --download {canvas} --pages {pages} --out {out}", "holds no hand-in as moodle names them"),
        ("--to canvas --download {canvas} --pages {empty} --out {out}", "holds no folder students; expected what"),
        (
            "--to canvas --download {canvas} --pages {pages} --out {file}",
            "is there already; expected the name of a new",
        ),
        ("--to canvas --download {canvas} --pages {pages} --out {empty}", "is a folder; expected a file to write to"),
        ("--to canvas --download {canvas} --pages {pages} --out {file}/x.zip", "file: File exists"),
        ("--to canvas --download {canvas} --out {out}", "--download: is given without --pages; expected both"),
        ("--to canvas --pages {pages} --out {out}", "--pages: is given without --download; expected both"),
        ("--to nbgrader --download {canvas} --pages {pages} --out {out}", "nbgrader returns its own with"),
        ("--to gradescope --download {canvas} --pages {pages} --out {out}", "its results.json holds what"),
    ],
)
def test_bad_input_is_told_in_one_line_and_writes_nothing(
    dlcvgrade, graded, download, pages, folder, tmp_path, arguments, told
):
    graded("lovelaceada", "hopper")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    places = {name: tmp_path / name for name in ("empty", "file", "new")}
    places |= {"pages": pages(), "canvas": download("canvas"), "out": tmp_path / "new/feedback.zip"}
    before = sorted(tmp_path.rglob("*"))
    code, _, errors = dlcvgrade("export", folder, *arguments.format(**places).split())
    assert code == 2
    assert told in errors and len(errors.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_write_that_fails_leaves_nothing_behind(give_back, graded, download, pages, tmp_path, monkeypatch):
    graded("lovelaceada", "hopper")
    made, source = pages(), download("canvas")
    before = sorted(tmp_path.rglob("*"))

    def full(self, target):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.replace", full)
    code, _, errors, _ = give_back("canvas", source, made)
    assert code == 2 and len(errors.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
