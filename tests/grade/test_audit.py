from __future__ import annotations

import dataclasses
import json
from pathlib import PurePosixPath

import pytest

from dlcvgrade.audit import audit
from dlcvgrade.confidential import Secrets, is_telling, normalised, secrets_of
from dlcvgrade.problems import CourseProblems

ROOT = "/srv/course-of-the-author"
COPIED = [f"step_number_{number} = compute({number})" for number in range(4)]
SECRETS = Secrets(
    solution=frozenset({"dists = (a - b).square().sum(dim=2)", "return dists.clamp(min=0)", *COPIED}),
    hidden=frozenset({"hidden_vector_nobody_knows = [3.5, -1.25]", 'Case("one test image", x=normal(1, 3, 5)),'}),
)


def notebook(*sources, **changes):
    cells = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": text,
        }
        for number, text in enumerate(sources or ["x = 1"])
    ]
    cells[0].update(changes)
    return {"cells": cells, "metadata": {"kernelspec": {}}, "nbformat": 4, "nbformat_minor": 5}


def findings(path, content):
    if isinstance(content, dict):
        content = json.dumps(content).encode()
    return [str(problem) for problem in audit({PurePosixPath(path): content}, SECRETS, root=ROOT)]


def test_clean_release_passes():
    files = {"knn.ipynb": notebook("x = 1", "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()")}
    files |= {"README.md": b"# Hello", "kit/dlcvkit/a.py": b"x = 1", "figures/a.png": b"\x89PNG\xff"}
    for path, content in files.items():
        assert findings(path, content) == []


@pytest.mark.parametrize(
    ("path", "content", "finding"),
    [
        ("knn.ipynb", notebook("def f(a, b):\n    dists = (a - b).square().sum(dim=2)"), "a line of a solution"),
        ("knn.ipynb", notebook("x = 1", "  return  dists.clamp(min=0)  # safe"), "cell 2: holds a line of a solution"),
        ("knn.ipynb", notebook("hidden_vector_nobody_knows = [3.5, -1.25]"), "a line of a hidden case"),
        ("README.md", b"so:\n    dists = (a - b).square().sum(dim=2)", "README.md: line 2: holds a line of a solution"),
        (
            "kit/dlcvkit/a.py",
            "\n\n".join(COPIED).encode(),
            "kit/dlcvkit/a.py: line 7: holds a line of a solution",
        ),
        (
            "kit/dlcvkit/a.py",
            b'    Case("one test image", x=normal(1, 3, 5)),',
            "line 1: holds a line of a hidden case",
        ),
        ("knn.ipynb", notebook(outputs=[{"output_type": "stream"}]), "cell 1: has outputs"),
        ("knn.ipynb", notebook(execution_count=7), "cell 1: has the execution count 7"),
        ("knn.ipynb", notebook(attachments={"a.png": {}}), "cell 1: has attachments"),
        ("knn.ipynb", notebook(metadata={"author": "somebody"}), "cell 1: has metadata 'author'"),
        ("knn.ipynb", notebook(metadata={"nbgrader": {"owner": 1}}), "has nbgrader metadata 'owner'"),
        ("knn.ipynb", {**notebook(), "metadata": {"authors": []}}, "knn.ipynb: has metadata 'authors'"),
        (
            "knn.ipynb",
            {**notebook(), "metadata": {"language_info": {"version": "3"}}},
            "has language metadata 'version'",
        ),
        ("knn.ipynb", notebook('hidden_check("a1/knn", f)'), "calls hidden_check"),
        ("knn.ipynb", notebook("### BEGIN HIDDEN TESTS\nassert f(1)"), "holds the marker '### BEGIN HIDDEN TESTS'"),
        ("knn.ipynb", notebook("## BEGIN SOLUTON\nx = 1"), "holds the marker '## BEGIN SOLUTON'"),
        ("knn.ipynb", notebook('open("/home/somebody/data")'), "names a path of the author's machine: /home/somebody"),
        ("README.md", f"see {ROOT}/data".encode(), f"names a path of the author's machine: {ROOT}"),
        ("README.md", b"C:\\Users\\somebody\\x", "names a path of the author's machine"),
        ("knn.ipynb", b"not json", "is no notebook"),
        ("knn.py", b"x = 1", "is a Python file outside the kit"),
        ("kit/dlcvkit/__pycache__/a.cpython-311.pyc", b"x", "lies in __pycache__"),
        ("kit/dlcvkit/a.pyc", b"x", "ends in .pyc"),
        (".ipynb_checkpoints/knn.ipynb", notebook(), "lies in .ipynb_checkpoints"),
        ("gradebook.db", b"x", "ends in .db"),
        ("notes.dat", b"\xff\xfe\xfa", "is neither UTF-8 text nor a known kind of binary file"),
    ],
)
def test_each_leak_is_found(path, content, finding):
    assert any(finding in line for line in findings(path, content)), findings(path, content)


def test_kit_may_share_an_idiom_with_a_solution():
    shared = [*COPIED[:3], "something_else_entirely = 1", COPIED[3], "hidden_vector_nobody_knows = [3.5, -1.25]"]
    assert findings("kit/dlcvkit/a.py", "\n".join(shared).encode()) == []


@pytest.mark.parametrize(
    "line",
    [
        "return out",
        "loss = 0.0",
        "for i in range(num_test):",
        "import torch.nn",
        "else:",
        ")",
        '"stretch_to_images",',
        "__all__ = ['conv_transpose']",
    ],
)
def test_common_turn_of_phrase_tells_nothing(line):
    assert not is_telling(normalised(line))


def test_secrets_are_what_stands_in_solutions_and_specs(toy_course, toy_built):
    secrets = secrets_of(toy_course, toy_course.stage("a1"), toy_built)
    assert "return torch.add(x, x, alpha=1)" in secrets.solution
    assert any(line.startswith("*Model answer.*") for line in secrets.solution)
    assert "hidden_vector_nobody_knows = [3.5, -1.25, 8.0]" in secrets.hidden
    assert not any("YOUR CODE" in line or "def total" in line for line in secrets.solution)


def test_a_folder_without_hidden_cases_is_refused_before_anything_is_released(toy_course, toy_built, tmp_path):
    mistyped = dataclasses.replace(toy_course, specs=tmp_path / "nowhere")
    with pytest.raises(CourseProblems, match=r"there are no hidden cases in .*nowhere"):
        secrets_of(mistyped, toy_course.stage("a1"), toy_built)
