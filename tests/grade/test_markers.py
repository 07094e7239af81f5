from __future__ import annotations

import pytest

from dlcvgrade.markers import meant_marker, outside_lines, region_lines, scan, without_markers


@pytest.mark.parametrize(
    "line",
    [
        "## BEGIN SOLUTON",
        "### START SOLUTION",
        "### STOP SOLUTION",
        "### BEGIN SOLUTION HERE",
        "### BEGINSOLUTION",
        "### begin solution",
        "### BEGN SOLUTION",
        "#### END SOLUTION",
        "###END SOLUTION",
        "### END SOLUTIONS",
        "### END_SOLUTION",
        "### BEGIN HIDDEN TEST",
        "### BEGIN HIDEN TESTS",
        "# BEGIN HIDDEN TESTS",
        "### END HIDDEN TSETS",
        "### BEGIN MARKSCHEME",
        "### BEGIN MARK SHEME",
        "### END MARKING SCHEME",
        "BEGIN SOLUTION",
        "x = 1  ### BEGIN SOLUTION",
    ],
)
def test_near_miss_is_told(line):
    regions, problems = scan(line)
    assert not regions
    assert any("write exactly '### " in what for _, what in problems), problems


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# the solution of the linear system",
        "## The mark scheme",
        "### Hidden units",
        "# begin with the largest score",
        "# end of the loop over images",
        "Begin with a small network.",
        "The test images are hidden behind the training images.",
        "end = len(x)",
        "begin, end = 0, 3",
        "x = solution  # the solution",
    ],
)
def test_ordinary_line_is_no_marker(line):
    assert meant_marker(line) is None


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("### BEGIN SOLUTION\nx = 1", "is never closed"),
        ("x = 1\n### END SOLUTION", "closes nothing; nothing is open"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "stands inside '### BEGIN SOLUTION'"),
        ("### BEGIN SOLUTION\n### END MARK SCHEME", "'### END SOLUTION' is due"),
        (
            "### BEGIN SOLUTION\n### BEGIN HIDDEN TESTS\n### END SOLUTION\n### END HIDDEN TESTS",
            "stands inside '### BEGIN SOLUTION'",
        ),
    ],
)
def test_unbalanced_markers_are_told(source, complaint):
    assert any(complaint in what for _, what in scan(source)[1])


def test_regions_are_found_and_taken_apart():
    source = "def f(x):\n    ### BEGIN SOLUTION\n    y = x\n    return y\n    ### END SOLUTION\n# done"
    regions, problems = scan(source)
    assert not problems
    assert [(region.name, region.first, region.last) for region in regions] == [("SOLUTION", 2, 3)]
    assert list(region_lines(source, "SOLUTION")) == ["    y = x", "    return y"]
    assert list(outside_lines(source)) == ["def f(x):", "# done"]
    assert without_markers(source) == "def f(x):\n    y = x\n    return y\n# done"
