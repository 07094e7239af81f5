"""``dlcvkit submit``: one zip that grading can read, whatever state the notebooks are in, and honest warnings."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from dlcvgrade.course import read_course
from dlcvgrade.judge.submissions import find_submissions
from dlcvgrade.source import ANSWER
from dlcvkit.commands import inspection
from dlcvkit.commands.course import topics_of
from dlcvkit.commands.inspection import inspect_notebook
from dlcvkit.commands.notebook_file import read_notebook

ROOT = Path(__file__).parents[2]


def unpacked(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def topic_of(folder, name="two_layer_net", stage="a2"):
    return next(topic for topic in topics_of(stage, folder) if topic.name == name)


@pytest.fixture
def warnings(save, tmp_path):
    def of(cells):
        return inspect_notebook(topic_of(tmp_path), read_notebook(save(cells)), 30).warnings

    return of


def check_cells(folder):
    return [f"check({each!r})" for each in topic_of(folder).exercises]


def test_an_incomplete_hand_in_is_packed_with_a_manifest_and_warnings(command, save, correct, tmp_path):
    content = save(correct).read_bytes()
    code, out, err = command("submit", "a2", "--student", "ada.l@example.org")
    assert (code, err) == (1, "")
    assert "warn  backprop.ipynb is not in" in out
    assert "is ready, with 1 of 5 notebooks" in out
    files = unpacked(tmp_path / "a2-ada.l@example.org.zip")
    assert set(files) == {f"ada.l@example.org/a2/{name}" for name in ("two_layer_net.ipynb", "manifest.json")}
    manifest = json.loads(files["ada.l@example.org/a2/manifest.json"])
    assert (manifest["student"], manifest["stage"], manifest["format"]) == ("ada.l@example.org", "a2", 1)
    assert manifest["created"].endswith("Z") and manifest["dlcvkit"]
    assert manifest["files"] == [
        {"name": "two_layer_net.ipynb", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    ]
    assert len(manifest["missing"]) == 4
    assert files["ada.l@example.org/a2/two_layer_net.ipynb"] == content


def test_grading_finds_what_was_packed(command, save, correct, tmp_path):
    save(correct)
    save(['check("a1/linear_answer", "linear_weights.safetensors")'], "linear_training.ipynb")
    (tmp_path / "linear_weights.safetensors").write_bytes(b"weights")
    for stage in ("a1", "a2"):
        command("submit", stage, "--student", "ada", "--out", str(tmp_path / "out"))
        zipfile.ZipFile(tmp_path / "out" / f"{stage}-ada.zip").extractall(tmp_path / "handed-in")
    course = read_course(ROOT)
    for stage, notebook in (("a1", "linear_training"), ("a2", "two_layer_net")):
        (found,) = find_submissions([tmp_path / "handed-in"], course.stage(stage))
        assert (found.student, list(found.notebooks)) == ("ada", [notebook])
        assert not found.is_partial
    assert (tmp_path / "handed-in/ada/a1/linear_weights.safetensors").read_bytes() == b"weights"


def test_all_is_well_gives_exit_code_0(command, save, monkeypatch, tmp_path):
    monkeypatch.setattr("dlcvkit.commands.submit.topics_of", lambda stage, folder: [topic_of(tmp_path)])
    solved = json.loads((ROOT / "solutions/a2/two_layer_net.ipynb").read_text())["cells"]
    for number, cell in enumerate(solved):
        if cell["cell_type"] == "code":
            cell["execution_count"] = number + 1
    save([cell for cell in solved if "".join(cell["source"]) != ANSWER])
    code, out, _ = command("submit", "a2", "--student", "ada", "--json")
    told = json.loads(out)
    assert (code, told["warnings"]) == (0, [])
    assert told["earned"] == told["possible"] == 36


def test_a_second_zip_takes_the_place_of_the_first(command, save, correct, tmp_path):
    save(correct)
    command("submit", "a2", "--student", "ada")
    new = save(correct[:2]).read_bytes()
    command("submit", "a2", "--student", "ada")
    assert unpacked(tmp_path / "a2-ada.zip")["ada/a2/two_layer_net.ipynb"] == new
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "student", ["", "ada lovelace", "../ada", "ada/x", "-ada", ".ada", "=1+1", "a<b", "ä", "a\nb", "ada.", "a" * 65]
)
def test_an_odd_id_is_refused_in_one_line(command, save, correct, tmp_path, student):
    save(correct)
    code, out, err = command("submit", "a2", f"--student={student}")
    assert (code, out) == (2, "")
    assert "the student's id is" in err and err.count("\n") == 1
    assert not list(tmp_path.glob("*.zip"))


def test_without_notebooks_or_place_nothing_is_written(command, save, correct, tmp_path):
    code, _, err = command("submit", "a2", "--student", "ada")
    assert code == 2 and "no notebook of a2 lies in" in err
    assert command("submit", "a9", "--student", "ada")[0] == 2
    save(correct)
    (tmp_path / "file").touch()
    code, _, err = command("submit", "a2", "--student", "ada", "--out", "file")
    assert code == 2 and err.startswith("dlcvkit: ") and err.count("\n") == 1
    assert not list(tmp_path.glob("**/*.zip"))


def test_a_broken_notebook_is_packed_all_the_same(command, tmp_path):
    (tmp_path / "two_layer_net.ipynb").write_text('{"cells": [')
    code, out, _ = command("submit", "a2", "--student", "ada")
    assert code == 1
    assert "warn  two_layer_net.ipynb is no notebook: line 1" in out
    assert unpacked(tmp_path / "a2-ada.zip")["ada/a2/two_layer_net.ipynb"] == b'{"cells": ['


def test_a_saved_answer_elsewhere_is_left_out_and_told(command, save, tmp_path):
    save(['check("a1/linear_answer", "../secret")'], "linear_training.ipynb")
    (tmp_path.parent / "secret").write_text("mine")
    code, out, _ = command("submit", "a1", "--student", "ada")
    assert code == 1
    assert "a1/linear_answer names '../secret'; expected a file beside the notebook" in out
    assert {Path(name).name for name in unpacked(tmp_path / "a1-ada.zip")} == {"linear_training.ipynb", "manifest.json"}


def test_a_saved_answer_that_is_not_there_is_told(command, save):
    save(['check("a1/linear_answer", "w.safetensors")'], "linear_training.ipynb")
    assert "warn  w.safetensors, a saved answer, cannot be read" in command("submit", "a1", "--student", "ada")[1]


def test_what_is_not_written_and_what_loses_points_is_told(warnings, correct):
    correct[3] = correct[3].replace("(x > 0)", "(x < 0)")
    softmax = "def softmax_loss(scores, y):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    found = warnings([*correct, softmax])
    assert "a2/relu has 1 of 3 points on the public cases (wrong)" in found
    assert any(each.startswith("not written yet: a2/softmax_loss, a2/svm_loss") for each in found)
    assert not any("a2/affine has" in each for each in found)


def test_a_question_without_an_answer_is_told(warnings, correct):
    assert inspection.UNANSWERED == ANSWER, "what the build puts there"
    open_one = {"cell_type": "markdown", "source": ANSWER, "metadata": {}}
    assert "1 question is not answered" in warnings([*correct, open_one])
    assert not any("answered" in each for each in warnings([*correct, {**open_one, "source": "Because."}]))


def numbered(sources, counts):
    return [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": count}
        for source, count in zip(sources, counts, strict=True)
    ]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((1, 2, 3), None),
        ((4, 7, 9), None),
        ((None, None, None), "was saved without having been run"),
        ((1, None, 2), "cell 2 not run before it was saved"),
        ((1, 3, 2), "cell 2 was run after cell 3"),
    ],
)
def test_a_notebook_that_was_not_run_in_order_is_told(warnings, counts, words):
    found = [each for each in warnings(numbered(["a = 1", "b = 2", "c = 3"], counts)) if "restart the kernel" in each]
    assert [words in each for each in found] == ([] if words is None else [True])


def test_a_notebook_of_another_version_is_told(warnings, correct, tmp_path):
    checks = check_cells(tmp_path)
    assert not any("version" in each for each in warnings([*correct, *checks]))
    assert any("has no check of a2/affine: " in each for each in warnings([*correct, *checks[1:]]))
    assert any("checks a2/old, which dlcvkit does not know" in each for each in warnings([*checks, 'check("a2/old")']))
    graded = {"grade": True, "grade_id": "check-affine", "points": 70}
    cell = {"cell_type": "code", "source": checks[0], "metadata": {"nbgrader": graded}, "execution_count": 9}
    assert any("says 70 points for a2/affine; expected 7" in each for each in warnings([*checks[1:], cell]))


def test_a_notebook_too_large_for_grading_is_told(command, save, correct, monkeypatch):
    save(correct)
    monkeypatch.setattr("dlcvkit.commands.submit.MAX_BYTES", 10)
    code, out, _ = command("submit", "a2", "--student", "ada")
    assert code == 1 and "clear its outputs" in out


def test_zips_hold_plain_files_that_everybody_may_read(command, save, correct, tmp_path):
    save(correct)
    command("submit", "a2", "--student", "ada")
    infos = zipfile.ZipFile(io.BytesIO((tmp_path / "a2-ada.zip").read_bytes())).infolist()
    assert {info.external_attr >> 16 for info in infos} == {0o100644}
