from __future__ import annotations

import pytest

from dlcvgrade.source import solved_notebook


@pytest.fixture
def solve(registry):
    def run(text):
        notebook, problems = solved_notebook(text, file="toy.py", stage="a1", notebook="toy", registry=registry)
        return notebook, [str(problem) for problem in problems]

    return run


def replaced(text, old, new):
    assert old in text, old
    return text.replace(old, new, 1)


def test_sound_source_becomes_a_notebook(solve, toy_source):
    notebook, problems = solve(toy_source)
    assert problems == []
    names = [cell.id for cell in notebook.cells]
    assert names[2:8] == ["total", "check-total", "twice", "check-twice", "question-order", "answer-order"]
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert dict(notebook.metadata.kernelspec) == {"display_name": "Python 3", "language": "python", "name": "python3"}


def test_grade_cell_gets_the_hidden_tests_and_the_points(solve, toy_source):
    cells = {cell.id: cell for cell in solve(toy_source)[0].cells}
    assert cells["check-total"].source == (
        'check("a1/total", total)\n### BEGIN HIDDEN TESTS\n'
        'from dlcvkit import hidden_check\n\nhidden_check("a1/total", total)\n### END HIDDEN TESTS'
    )
    assert cells["check-total"].metadata.nbgrader == {
        "schema_version": 3,
        "grade_id": "check-total",
        "grade": True,
        "locked": True,
        "solution": False,
        "task": False,
        "points": 3.0,
    }


def test_question_becomes_a_task_with_a_cell_for_the_answer(solve, toy_source):
    cells = {cell.id: cell for cell in solve(toy_source)[0].cells}
    flags = cells["question-order"].metadata.nbgrader
    assert (flags.task, flags.grade, flags.solution, flags.locked, flags.points) == (True, False, False, True, 2.0)
    assert "nbgrader" not in cells["answer-order"].metadata


def test_equal_cells_get_different_ids_and_the_same_text_the_same(solve, toy_source):
    text = toy_source + "\n# %%\nprint(1)\n\n# %%\nprint(1)\n"
    ids = [cell.id for cell in solve(text)[0].cells]
    assert len(set(ids)) == len(ids)
    assert ids == [cell.id for cell in solve(text)[0].cells]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    ### BEGIN SOLUTION\n", "    ## BEGIN SOLUTON\n", "toy.py: cell 3 (line 19): '## BEGIN SOLUTON'"),
        ("    ### END SOLUTION\n", "", "cell 3 (line 19): '### BEGIN SOLUTION' is never closed"),
        ("# ### END MARK SCHEME", "# ### END MARK SHCEME", "cell 7 (line 45): '### END MARK SHCEME' looks"),
        (
            'check("a1/total", total)\n',
            'check("a1/total", total)\n### BEGIN HIDDEN TEST\nassert total\n### END HIDDEN TESTS\n',
            "cell 4 (line 28): '### BEGIN HIDDEN TEST' looks like a marker",
        ),
        (
            'check("a1/total", total)\n',
            'check("a1/total", total)\n### BEGIN HIDDEN TESTS\nassert total\n### END HIDDEN TESTS\n',
            "cell 4 (line 28): hidden tests are added by the build",
        ),
        ('check("a1/total", total)', 'check("a1/twice", total)', "is for 'a1/total', but its check names 'a1/twice'"),
        ('check("a1/total", total)', 'print("a1/total")', "a check cell holds one call such as check("),
        ('check("a1/total", total)', 'check("a1/total", twice)', "check passes (twice); the exercise takes (total)"),
        ('# %% exercise="a1/twice"', '# %% exercise="a1/twcie"', "'a1/twcie' is no exercise of a1/toy; is it 'a1/tw"),
        ('# %% exercise="a1/twice"', "# %%", "stands in this plain cell; it belongs on exercise cells"),
        ('# %% check="a1/twice"', "# %%", "the exercise 'a1/twice' is never checked"),
        ("def twice(x)", "def total(x)", "the grade id 'total' is taken by cell 3"),
        ("def twice(x)", "def double(x)", "the exercise 'a1/twice' has no cell that defines twice"),
        ("    ### BEGIN SOLUTION\n    return torch.add(x, x, alpha=1)\n    ### END SOLUTION", "    return x + x",
         "cell 5 (line 29): an exercise cell needs a solution"),
        ("def twice(x):", "def twice(x:", "cell 5 (line 30): syntax error: "),
        ('tags=["demo"]', 'tags=["dmeo"]', "the tag 'dmeo' is not on the allow-list"),
        ('tags=["demo"]', 'collapsed=true', "metadata 'collapsed' is not on the allow-list"),
        ("points=2", "points=0", "the question is worth 0 points; expected a number above 0"),
        ("points=2", "", "the question is worth None points"),
        ('# %% tags=["demo"]', '# %% check="a1/total" exercise="a1/total"', "a cell has one role"),
        ("#   kernelspec", "#   authors: [somebody]\n#   kernelspec", "the header sets 'authors'"),
        ("# %% [markdown]\n# # Toys", "import os\n# %% [markdown]\n# # Toys", "there is text before the first '# %%'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_cell_and_line(solve, toy_source, old, new, complaint):
    notebook, problems = solve(replaced(toy_source, old, new))
    assert notebook is None
    assert any(complaint in line for line in problems), problems


def test_exercise_without_a_cell_is_told(solve, toy_source):
    start, end = toy_source.index('# %% exercise="a1/twice"'), toy_source.index("# %% [markdown] question")
    notebook, problems = solve(toy_source[:start] + toy_source[end:])
    assert notebook is None
    assert "toy.py: the exercise 'a1/twice' has no cell; add one with exercise=\"a1/twice\"" in problems


def test_check_above_its_exercise_is_told(solve, toy_source):
    text = replaced(toy_source, '# %% check="a1/total"\ncheck("a1/total", total)\n', "")
    text = replaced(text, '# %% exercise="a1/total"', '# %% check="a1/total"\ncheck("a1/total", total)\n\n'
                    '# %% exercise="a1/total"')  # fmt: skip
    assert any("'a1/total' is checked above this cell" in line for line in solve(text)[1])


def test_all_problems_are_told_at_once(solve, toy_source):
    text = replaced(toy_source, 'tags=["demo"]', 'tags=["dmeo"]')
    text = replaced(text, "    ### BEGIN SOLUTION\n", "    ## BEGIN SOLUTON\n")
    assert len(solve(text)[1]) >= 2


def test_magic_is_no_syntax_error(solve, toy_source):
    notebook, problems = solve(replaced(toy_source, "import torch\n", "import torch\n# %matplotlib inline\n"))
    assert problems == []
    assert "%matplotlib inline" in notebook.cells[1].source
