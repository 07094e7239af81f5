"""What is missing for safe grading is said, and exit code 2 says that something is."""

from __future__ import annotations

import dataclasses

import pytest

from dlcvgrade import cli
from dlcvgrade.judge import doctor
from dlcvgrade.judge.sandbox import Isolation


@pytest.fixture
def run(monkeypatch, capsys, knn_course):
    def run():
        monkeypatch.setattr("sys.argv", ["dlcvgrade", "doctor", "--course", str(knn_course.root)])
        try:
            cli.main()
        except SystemExit as stopped:
            return stopped.code or 0, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_all_well_is_exit_code_0(run, monkeypatch):
    monkeypatch.setattr("dlcvgrade.judge.sandbox.isolation", lambda: Isolation("bubblewrap", True))
    code, told = run()
    assert code == 0, told
    assert "FAIL" not in told
    for name in ("sandbox", "specs", "torch", "nbgrader", "disk"):
        assert name in told


@pytest.mark.parametrize(
    "found", [Isolation("none", True, "it is not there"), Isolation("bubblewrap", False, "no filter here")], ids=str
)
def test_a_missing_wall_is_exit_code_2_and_says_why(run, monkeypatch, found):
    monkeypatch.setattr("dlcvgrade.judge.sandbox.isolation", lambda: found)
    code, told = run()
    assert code == 2
    assert f"FAIL  sandbox   {found.level}: {found.why}" in told


def test_missing_specs_are_found(knn_course, tmp_path):
    signs = doctor.examine(dataclasses.replace(knn_course, specs=tmp_path))
    assert [sign.name for sign in signs if not sign.is_well] == ["specs"]


def test_an_old_or_missing_nbgrader_is_found(run, monkeypatch):
    monkeypatch.setattr("dlcvgrade.judge.doctor.version", lambda name: "0.9.5")
    assert "FAIL  nbgrader  0.9.5; expected 0.9.6 or later" in run()[1]

    def missing(name):
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr("dlcvgrade.judge.doctor.version", missing)
    code, told = run()
    assert code == 2
    assert "FAIL  nbgrader" in told


def test_a_full_disk_is_found(run, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**80)
    assert run()[0] == 2


def test_without_a_course_it_looks_at_the_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["dlcvgrade", "doctor"])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    told = capsys.readouterr().out
    assert exited.value.code in (0, None) and "course    none here" in told and "ok    sandbox" in told
    # Where somebody names a course, it has to be one.
    monkeypatch.setattr("sys.argv", ["dlcvgrade", "doctor", "--course", str(tmp_path)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 2
