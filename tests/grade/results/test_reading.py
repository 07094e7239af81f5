from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dlcvgrade.judge.judging import Verdict
from dlcvgrade.judge.results import FORMAT as WRITTEN_FORMAT
from dlcvgrade.judge.results import Graded
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.problems import CourseProblems
from dlcvgrade.results import reading
from dlcvgrade.results.reading import read_result, read_results, schema, validate
from dlcvgrade.results.wording import VERDICTS
from dlcvkit.checking import Finding, Kind, Quantity, Report

DOCUMENT = Path(__file__).parents[3] / "docs/result-format.md"


def fields(node=None):
    """Yield every field name of the schema."""
    node = schema() if node is None else node
    for name, value in node.get("properties", {}).items():
        yield name
        yield from fields(value)
    for value in node.get("$defs", {}).values():
        yield from fields(value)


def unknown(data, node):
    """Yield fields of a result that the schema does not name."""
    node = schema()["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    if isinstance(data, dict):
        for name, value in data.items():
            if name not in node["properties"]:
                yield name
            else:
                yield from unknown(value, node["properties"][name])
    elif isinstance(data, list):
        for item in data:
            yield from unknown(item, node["items"])


@pytest.fixture
def graded():
    wrong = Finding(Kind.VALUE, "differs; first is 3", diagnosis="the wrong sign", hint="look at the last step")
    report = Report("a1/two", [Quantity("out", 2.0, wrong), Quantity("dx", 1.0)], is_hidden=True)
    broken = Report("a1/three", [Quantity("out", 2.0, Finding(Kind.COULD_NOT_CHECK, "", diagnosis="OSError"))])
    verdicts = {
        "a1/one": Verdict(Report("a1/one", [Quantity("out", 2.0)], is_hidden=True), "pass"),
        "a1/two": Verdict(report, "wrong"),
        "a1/three": Verdict(broken, "could_not_check", "the worker was lost"),
    }
    hashes = dict.fromkeys(("submission", "specs", "kit"), "0" * 64)
    box = Isolation("bubblewrap", True)
    return Graded("ada", "a1", 3, verdicts, dict.fromkeys(verdicts, "knn"), ("mended",), box, hashes, 1.0)


def test_what_the_judge_writes_is_what_is_read(graded):
    data = json.loads(json.dumps(graded.as_json()))
    validate(data)
    assert WRITTEN_FORMAT == reading.FORMAT
    assert list(unknown(data, schema())) == [], "name new fields in schema.json and docs/result-format.md"


def test_a_field_without_a_schema_is_noticed(graded):
    data = json.loads(json.dumps(graded.as_json()))
    data["exercises"][0]["inputs"] = [1]
    assert list(unknown(data, schema())) == ["inputs"]


def test_the_document_has_a_valid_example_and_names_every_field():
    text = DOCUMENT.read_text(encoding="utf-8")
    examples = re.findall(r"```json\n(.*?)```", text, re.S)
    assert len(examples) == 1
    validate(json.loads(examples[0]))
    prose = text.replace(examples[0], "")
    assert len(set(fields())) > 20
    assert [name for name in fields() if f"`{name}`" not in prose] == []


def test_verdicts_all_have_words():
    assert list(VERDICTS) == schema()["$defs"]["exercise"]["properties"]["verdict"]["enum"]


def spoil(data, path, value):
    *steps, last = path
    for step in steps:
        data = data[step]
    if value is ...:
        del data[last]
    else:
        data[last] = value


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (["format"], 2, "format: is 2; expected 1, the one that this version reads"),
        (["format"], True, "format: is true; expected 1, the one that this version reads"),
        (["format"], ..., "format is missing"),
        (["student"], ..., "student is missing"),
        (["student"], 5, "student: is 5; expected string"),
        (["student"], "", 'student: is ""; expected a text that is not empty'),
        (["stage"], "a" * 101, "expected at most 100 characters"),
        (["seed"], -1, "seed: is -1; expected at least 0"),
        (["seconds"], 1e300, "seconds: is 1e+300; expected at most 1e+09"),
        (["isolation", "level"], "chroot", 'isolation.level: is "chroot"; expected one of bubblewrap, none'),
        (["hashes", "kit"], "A" * 64, "hashes.kit: is "),
        (["exercises", 1, "verdict"], "good", 'exercises[1].verdict: is "good"; expected one of pass, wrong'),
        (["exercises", 1, "points"], None, "exercises[1].points: is null; expected number"),
        (["exercises", 1, "points"], 9.0, "exercises[1].points: is 9; expected at most 4, what is possible"),
        (["exercises", 1, "verdict"], "could_not_check", "exercises[1].points: is 4.0; expected null"),
        (["exercises", 1, "reason"], 3, "exercises[1].reason: is 3; expected string or null"),
        (["exercises", 1, "quantities", 0, "ok"], ..., "exercises[1].quantities[0]: ok is missing"),
        (["exercises", 1, "exercise"], "a1/one", 'exercises[1].exercise: is "a1/one" once more'),
        (["points"], 11.0, "points: is 11; expected 12, the sum over the exercises"),
        (["possible"], 11.0, "possible: is 11; expected 12, the sum over the exercises"),
        (["is_decided"], False, "is_decided: is false; expected true from the exercises"),
    ],
)
def test_each_field_that_is_wrong_is_named_in_one_line(put, result_json, path, value, told):
    data = result_json()
    put(data, "x")
    spoil(data, path, value)
    with pytest.raises(ValueError) as raised:
        put(data, "x")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250


@pytest.mark.parametrize("data", [[], 3, None, "text"])
def test_other_json_is_no_result(put, data, folder):
    (folder / "x.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="expected object"):
        read_result(folder / "x.json")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no JSON: Expecting value in line 1"),
        (b'{"format": 1,\n', "in line 2"),
        (b"\xff\xfe", "is no JSON: expected UTF-8 text with finite numbers"),
        (b'{"format": NaN}', "expected UTF-8 text with finite numbers"),
        (b"[" * 100_000, "expected UTF-8 text with finite numbers"),
        (b"1" * 5000, "expected UTF-8 text with finite numbers"),
        (b" " * (reading.MAX_BYTES + 1), f"expected at most {reading.MAX_BYTES}"),
    ],
    ids=["empty", "cut_off", "not_utf8", "nan", "deep", "huge_number", "huge_file"],
)
def test_what_is_no_json_costs_only_itself(put, result_json, folder, content, told):
    put(result_json("ada"))
    (folder / "broken.json").write_bytes(content)
    results, problems = read_results(folder)
    assert [result.student for result in results] == ["ada"]
    assert [str(problem) for problem in problems] == [f"broken.json: {problems[0].what}"]
    assert told in problems[0].what


def test_unknown_fields_are_passed_over(put, result_json, entry):
    exercise = entry("a1/one", inputs=[1, 2], expected=3)
    assert put(result_json("ada", exercise, later="field")).points == 4


def test_texts_become_single_printable_lines(hostile_class):
    for result in hostile_class:
        texts = [result.student, *result.notes, *(e.reason or "" for e in result.exercises)]
        assert all(text.isprintable() for text in texts)


def test_folders_that_cannot_be_read_are_told(put, result_json, folder, tmp_path):
    with pytest.raises(CourseProblems, match="holds no result"):
        read_results(folder)
    with pytest.raises(CourseProblems, match="does not exist"):
        read_results(tmp_path / "nowhere")
    put(result_json("ada"))
    with pytest.raises(CourseProblems, match="is no folder"):
        read_results(folder / "ada.json")
    put(result_json("bob", stage="a2"))
    with pytest.raises(CourseProblems, match="holds results of a1, a2; expected one stage"):
        read_results(folder)


def test_half_written_and_hidden_files_are_not_looked_at(put, result_json, folder):
    put(result_json("ada"))
    (folder / ".bob.json").write_text("{")
    (folder / "sub.json").mkdir()
    assert len(read_results(folder)[0]) == 1
    assert read_results(folder)[1] == []
