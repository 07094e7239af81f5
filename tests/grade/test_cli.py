from __future__ import annotations

import pytest

from dlcvgrade import cli


@pytest.fixture
def dlcvgrade(monkeypatch, capsys, registry):
    monkeypatch.setattr("dlcvgrade.build.KitRegistry", lambda: registry)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["dlcvgrade", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code, captured.out, captured.err

    return run


def test_build_then_check_then_difference(dlcvgrade, toy_root):
    assert dlcvgrade("build", "--course", toy_root)[:2] == (0, "1 notebooks built\n")
    assert dlcvgrade("build", "--check", "--course", toy_root)[0] == 0
    (toy_root / "assignments/a1/toy.ipynb").write_text("edited by hand")
    code, out, _ = dlcvgrade("build", "--check", "--course", toy_root)
    assert code == 1
    assert "assignments/a1/toy.ipynb: differs from what its source gives" in out


def test_every_problem_is_one_line_and_nothing_is_written(dlcvgrade, toy_root, toy_source):
    broken = toy_source.replace("    ### BEGIN SOLUTION\n", "    ## BEGIN SOLUTON\n").replace("points=2", "points=0")
    (toy_root / "solutions/a1/toy.py").write_text(broken)
    code, out, err = dlcvgrade("build", "--course", toy_root)
    assert (code, out) == (2, "")
    assert "dlcvgrade: solutions/a1/toy.py: cell 3 (line 19): '## BEGIN SOLUTON' looks like a marker" in err
    assert all(line.startswith("dlcvgrade: solutions/a1/toy.py: ") for line in err.splitlines())
    assert not (toy_root / "assignments").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["release", "a7", "--out", "out"], "dlcvgrade: course.toml: there is no stage 'a7'; there are a1"),
        (["demo", "a1", "a7"], "dlcvgrade: course.toml: there is no stage 'a7'; there are a1"),
        (["build", "--only", "a1/nothing"], "there is no notebook a1/nothing in course.toml"),
        (["release", "a1"], "Missing option '--out'"),
        (["bulid"], "No such command 'bulid'"),
    ],
)
def test_bad_input_is_told_with_exit_code_2(dlcvgrade, toy_root, monkeypatch, arguments, message):
    monkeypatch.chdir(toy_root)
    code, _, err = dlcvgrade(*arguments)
    assert code == 2
    assert message in err


def test_outside_a_course_says_where_to_run(dlcvgrade, tmp_path):
    code, _, err = dlcvgrade("build", "--course", tmp_path)
    assert code == 2
    assert err == f"dlcvgrade: course.toml: is missing in {tmp_path}; run this in the course's folder\n"


@pytest.mark.parametrize(("arguments", "expected"), [([], ["a1"]), (["a2"], ["a2"]), (["a2", "a1"], ["a2", "a1"])])
def test_the_demo_shows_the_first_stage_unless_told_which(dlcvgrade, toy_root, monkeypatch, arguments, expected):
    with (toy_root / "course.toml").open("a") as course:
        course.write('\n[[stage]]\nname = "a2"\ntitle = "More"\ndue = 2027-02-26T23:59:00Z\nnotebooks = ["more"]\n')
    shown = []

    def run_demo(course, out, stages):
        shown.extend(stage.name for stage in stages)
        return 1

    monkeypatch.setattr("dlcvgrade.demo.course_loop.run_demo", run_demo)
    assert dlcvgrade("demo", *arguments, "--course", toy_root)[0] == 1
    assert shown == expected
