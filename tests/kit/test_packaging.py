"""pyproject.toml, constraints.txt and environment.yml have to agree, and setup has to say what is missing."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> list[Requirement]:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *extras]]


def pins(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = {}
    for line in lines:
        name, exact, version = line.partition("==")
        assert exact, f"{line!r} is not an exact version"
        found[canonicalize_name(name)] = version
    return found


CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def disagreements(wanted: list[Requirement], pinned: dict[str, str]) -> list[str]:
    found = []
    for requirement in wanted:
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            found.append(f"{requirement.name} is not pinned")
        elif not requirement.specifier.contains(version):
            found.append(f"{requirement} does not admit {version}")
    return found


def test_every_requirement_is_pinned_to_a_version_that_it_admits():
    assert not disagreements(requirements(), pins(CONSTRAINTS))


def test_a_missing_and_a_wrong_pin_are_noticed():
    wrong = {**pins(CONSTRAINTS), "torch": "2.0.0"}
    del wrong["numpy"]
    assert disagreements(requirements(), wrong) == ["numpy is not pinned", "torch>=2.6 does not admit 2.0.0"]


def test_a_loose_constraint_is_noticed():
    with pytest.raises(AssertionError, match="not an exact version"):
        pins("torch>=2.6")


def test_installed_versions_are_the_pinned_ones():
    installed: dict[str, str] = {}
    for found in distributions():  # the first counts, as for import: setuptools appends copies of its own to the path
        installed.setdefault(canonicalize_name(found.metadata["Name"]), found.version)
    pinned = pins(CONSTRAINTS)
    assert {name: installed[name] for name in pinned if name in installed} == {
        name: version for name, version in pinned.items() if name in installed
    }
    assert {"torch", "nbgrader", "pytest"} <= set(pinned) & set(installed)


def test_conda_installs_the_project_with_the_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip_section,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "-c constraints.txt" in pip_section
    (install,) = [line for line in pip_section if line.startswith("-e .")]
    assert set(install.removeprefix("-e .").strip("[]").split(",")) == set(PROJECT["optional-dependencies"])
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))


def preflight(python: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", ROOT / "utils" / "preflight.sh", python],
        capture_output=True,
        text=True,
        cwd=variables.pop("cwd", ROOT),
        env={**os.environ, **variables},
        check=False,
    )


def test_setup_names_a_missing_python_in_one_line():
    result = preflight("python-that-is-not-there")
    assert result.returncode == 2
    assert result.stderr.startswith("setup: no python-that-is-not-there found; install Python 3.11 or newer")
    assert result.stderr.count("\n") == 1


def test_setup_names_an_old_python_in_one_line(tmp_path):
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    result = preflight(str(old))
    assert result.returncode == 2
    assert (
        result.stderr
        == "setup: Python 3.8.1 is too old; install Python 3.11 or newer, then: make setup PYTHON=python3.11\n"
    )


def test_setup_names_a_full_disk_in_one_line(tmp_path):
    result = preflight(sys.executable, DLCV_NEEDED_MB="999999999", cwd=str(tmp_path))
    assert result.returncode == 2
    assert "about 999999999 MB needed" in result.stderr
    assert result.stderr.count("\n") == 1


def test_setup_goes_on_without_bubblewrap_but_says_so(tmp_path):
    for tool in ("df", "awk"):
        (tmp_path / tool).symlink_to(subprocess.check_output(["which", tool], text=True).strip())
    result = preflight(sys.executable, PATH=str(tmp_path))
    assert result.returncode == 0
    assert result.stderr.startswith("setup: no bubblewrap found; instructors need it to grade safely (Debian: apt-get")


def test_grading_imports_the_kit_and_never_the_reverse():
    code = "import sys, pkgutil, importlib, dlcvkit\n"
    code += "for m in pkgutil.walk_packages(dlcvkit.__path__, 'dlcvkit.'): importlib.import_module(m.name)\n"
    code += "sys.exit(any(name.split('.')[0] == 'dlcvgrade' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_sdist_would_carry_the_two_packages_only():
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert hatch["wheel"]["packages"] == ["utils/dlcvkit", "autograder/dlcvgrade"]
    assert {path.split("/")[-1] for path in hatch["sdist"]["only-include"]} == {
        "dlcvkit",
        "dlcvgrade",
        "README.md",
        "LICENSE",
    }


def test_lab_opens_a_notebook_that_is_there():
    lines = subprocess.check_output(["make", "-n", "lab"], cwd=ROOT, text=True).splitlines()
    (command,) = [line for line in lines if " jupyter lab " in line]
    (copy,) = [line for line in lines if "cp -r" in line]
    source, target = copy.split()[-2:]
    notebook = command.split()[-1]
    # Jupyter resolves it from the current folder, whatever --notebook-dir says.
    assert command.partition("--notebook-dir ")[2].split()[0] == target
    assert notebook.startswith(f"{target}/")
    assert (ROOT / source / notebook.removeprefix(f"{target}/")).is_file()
