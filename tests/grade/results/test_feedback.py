from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from jinja2 import Environment

from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.feedback import feedback_page, write_feedback
from dlcvgrade.results.writing import file_name, write_file

VOID = {"meta", "line", "rect", "img", "br"}


class Page(HTMLParser):
    """What a browser would act on: scripts, handlers, addresses; and whether tags are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.acts, self.text, self.open, self.broken, self.tags = [], [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "iframe", "object", "embed", "form", "link", "base", "img"):
            self.acts.append(tag)
        self.acts += [name for name, _ in attributes if name.startswith("on") or name == "style"]
        for name, value in attributes:
            if name in ("href", "src") and not re.fullmatch(r"students/[a-z0-9_-]+\.html", value or ""):
                self.acts.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_the_reader_of_pages_notices_what_acts(hostile_class):
    raw = Environment(autoescape=False).from_string("<p>{{ text }}</p>")  # what a page would be without escaping
    found = [Page(raw.render(text=result.student)).acts for result in hostile_class[:4]]
    assert found == [["script"], ["onload"], ["img", "onerror", "https://example.org/x"], ["javascript:alert(1)"]]
    assert Page("<p><b></p>").broken


def test_nothing_hostile_acts_on_any_page(hostile_class, tmp_path):
    write_feedback(hostile_class, [Problem("<script>.json", "is <script>no</script> JSON")], tmp_path / "out")
    pages = sorted((tmp_path / "out").rglob("*.html"))
    assert len(pages) == len(hostile_class) + 1
    for path in pages:
        html = path.read_text(encoding="utf-8")
        page = Page(html)
        assert (page.acts, page.broken, page.open) == ([], [], []), path
        assert "<script" not in html.lower()
        assert all(sign.isprintable() or sign == "\n" for sign in html)
        assert "https:" not in html.replace("https://example.org", "")


def test_long_texts_are_cut(hostile_class):
    longest = next(result for result in hostile_class if len(result.student) == 10_000)
    assert max(map(len, re.findall("x+", feedback_page(longest)))) < 400


def test_a_page_allows_its_own_style_and_nothing_else(put, result_json):
    html = feedback_page(put(result_json()))
    style = re.search("<style>(.*?)</style>", html, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert 'name="viewport" content="width=device-width' in html


def test_a_page_says_name_points_verdict_reason_and_hint(put, result_json, entry):
    parts = [
        {"name": "out", "earned": 2.0, "possible": 2.0, "ok": True, "reason": None},
        {"name": "dx", "earned": 0.0, "possible": 2.0, "ok": False, "reason": "fails in a hidden case (wide)"},
    ]
    wrong = {"reason": "fails in a hidden case (wide)", "diagnosis": "right once transposed", "hint": "look at axes"}
    exercises = [
        entry("a1/one", "wrong", **wrong, points=2.0, quantities=parts),
        entry("a1/two", "timeout", reason="took longer than 20 s", notebook="features"),
        entry("a1/three", "error", reason="f raised KeyError in a hidden case", diagnosis="KeyError"),
    ]
    page = Page(feedback_page(put(result_json("ada", *exercises, notes=["knn: a cell was moved"]))))
    text = re.sub(r"\s+", " ", " ".join(page.text))
    for told in (
        "a1: ada",
        "2 of 12 points",
        "knn: a cell was moved",
        "✗ wrong , 2 / 4 points",
        "likely right once transposed",
        "hint look at axes",
        "out 2 / 2 ✓ right",
        "dx 0 / 2 ✗ fails in a hidden case (wide)",
        "✗ took too long , 0 / 4 points",
        "why took longer than 20 s",
    ):
        assert told in text
    assert "likely KeyError" not in text
    assert text.index("knn ") < text.index("features") < text.index("a1/two")
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings == ["h1", "h2", "h2", "h3", "h2", "h3", "h2", "h3"]
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_only_what_a_student_may_know_is_on_the_page(put, result_json, entry):
    secret = {"inputs": "SECRET", "first": "SECRET", "expected": "SECRET", "text": "SECRET"}
    result = put(result_json("ada", entry("a1/one", "wrong", **secret), seed=987654321, test="SECRET"))
    html = feedback_page(result)
    assert "a1/one" in html
    assert "SECRET" not in html
    assert "987654321" not in html  # with the seed a student could draw the hidden inputs


def test_undecided_points_are_not_a_zero(put, result_json, entry):
    html = feedback_page(put(result_json("ada", entry("a1/one"), entry("a1/two", "could_not_check"))))
    assert "4 of 8 points so far" in html
    assert "1 of 2 exercises could not be checked" in html
    assert "? / 4 points" in html
    assert "so far" not in feedback_page(put(result_json()))


def test_every_student_has_a_file_of_its_own_name(hostile_class, put, result_json):
    more = [put(result_json(name), name) for name in ("ada", "Ada", "ADA", "ada-12345678")]
    names = [file_name(result.student, result.key) for result in [*hostile_class, *more]]
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9_-]{0,59}", name) for name in names)
    assert len({name.lower() for name in names}) == len(names)
    assert "ada" in names and "con" not in names and "ada-12345678" not in names


def test_two_runs_write_the_same_bytes(hostile_class, tmp_path):
    for name in ("one", "two"):
        write_feedback(hostile_class, [], tmp_path / name)
    write_feedback(hostile_class, [], tmp_path / "two")

    def contents(name):
        folder = tmp_path / name
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert contents("one") == contents("two")
    assert len(contents("one")) == len(hostile_class) + 1


def test_a_file_is_there_as_a_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write_file(path, "before")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_file(path, "after")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "before")]


def test_a_file_in_the_place_of_the_folder_is_told(put, result_json, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(CourseProblems, match="is a file; expected a folder"):
        write_feedback([put(result_json())], [], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
