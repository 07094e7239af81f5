"""The pages: every message that is explained is one that somebody can see, links lead somewhere, the site builds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
# What Python, Jupyter, nbgrader and the system say; the rest is ours.
THEIRS = {
    "ModuleNotFoundError: No module named 'dlcvkit'",
    "Jupyter command 'jupyter-lab' not found",
    "Operation not permitted",
    "No assignment with ID 'a1' exists in the database",
    "alembic: command not found",
    "database is locked",
}


def headings() -> list[str]:
    lines = TROUBLE.splitlines()
    terms = [line for line, after in pairwise(lines) if after.startswith(":   ")]
    return [quoted for term in terms for quoted in re.findall(r"`([^`]+)`", term)]


@pytest.fixture(scope="module")
def wording() -> str:
    sources = [
        *(ROOT / "utils").rglob("*.py"),
        *(ROOT / "autograder/dlcvgrade").rglob("*.py"),
        ROOT / "utils/preflight.sh",
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    # Texts that go over several lines of code are one text, and a shell's variable stands for a name.
    return re.sub(r'"\n\s*f?"', "", text).replace("$python", "python3").replace("{file.algorithm}", "md5")


@pytest.mark.parametrize("message", headings())
def test_a_message_that_is_explained_is_one_that_somebody_can_see(message, wording):
    assert message in THEIRS or message in wording


def test_there_are_messages_and_none_is_kept_for_nothing(wording):
    assert len(headings()) > 15
    assert set(headings()) >= THEIRS
    assert "a message that nothing ever says" not in wording


def build(root: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(root / "docs" / "site.py"), "--no-notebooks"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "course.toml", tmp_path)
    return tmp_path


def test_the_pages_make_a_site(copy):
    done = build(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not a verdict" in (copy / "build/site/instructors/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("link", ["nowhere.md", "students.md#no-such-heading", "images/gone.png"])
def test_a_link_that_leads_nowhere_is_an_error(copy, link):
    with (copy / "docs/students.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[here]({link})\n")
    done = build(copy)
    assert done.returncode == 1 and link.partition("#")[0] in done.stdout + done.stderr


def test_a_page_that_is_in_no_menu_is_an_error(copy):
    (copy / "docs/forgotten.md").write_text("# Forgotten\n", encoding="utf-8")
    assert build(copy).returncode == 1
