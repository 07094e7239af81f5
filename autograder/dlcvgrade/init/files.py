"""What a private course repository begins with, apart from what is copied of the kit."""

from __future__ import annotations

import json
from datetime import datetime
from string import Template

from dlcvgrade.course import Course

IGNORED = """\
/build/
/data/
/gradebook.db
/submitted/
/submitted-aside/
/autograded/
/results/
/feedback/
/inbound/
/grades.csv
__pycache__/
.ipynb_checkpoints/
.nbgrader.log
/assignments/**/*.safetensors
/solutions/**/*.safetensors
.venv/
"""

_COURSE = Template(
    """\
# What differs from term to term. Read by dlcvgrade and nbgrader_config.py.

[course]
id = $id
title = $title
# Where students get the course from. Shown in the release's README.
repository = $repository
# The hidden cases and mutants, yours to change.
specs = "specs"
# The kit that this course is made from, relative to this file. Releases take its package along; install it from there,
# so that grading uses the same. `dlcvgrade init . --update` brings what is newer in it.
kit = $kit

[late]
# Percent of the maximum lost per started day, and after how many days nothing is left to earn.
percent_per_day = $percent
days = $days
"""
)

_STAGE = Template(
    """
[[stage]]
name = $name
title = $title
due = $due
notebooks = $notebooks
"""
)

_README = Template(
    """\
# $title

The private repository of the course $id: hidden cases, solved notebooks, dates. Keep it where students cannot read it.

Install the kit on each machine that builds or grades: `pip install -e "$kit[grade]"`, and bubblewrap with
`apt-get install bubblewrap`. Then, in this folder:

    dlcvgrade build
    dlcvgrade release $stage --out build/release
    nbgrader generate_assignment $stage --force
    dlcvgrade import DOWNLOAD --stage $stage --from canvas --roster ROSTER.csv
    dlcvgrade grade $stage --jobs 2

They make the notebooks, the folder and zip for students, and the gradebook; sort what was handed in into `submitted/`;
and grade it. `course.toml` holds dates and the late policy, `specs/` the hidden cases, `solutions/` the sources of all
notebooks; `nbgrader_config.py` says where the gradebook is.

`dlcvgrade init . --update` brings what is newer in the kit, wherever you have changed nothing. Commit before you do.
"""
)

_GRADEBOOK = Template(
    """
c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.CourseDirectory.db_url = $url
"""
)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def course_text(kit: Course, *, name: str, title: str, repository: str, path: str, due: dict[str, datetime]) -> str:
    """Return ``course.toml``.

    Args:
        kit: The kit's own course: its stages and late policy are taken over.
        name: The course's id.
        title: Its title.
        repository: Where students get it from.
        path: The kit, relative to the course or absolute.
        due: Stage to due date, with a time zone; the kit's own where it is missing.
    """
    head = _COURSE.substitute(
        id=_quoted(name), title=_quoted(title), repository=_quoted(repository), kit=_quoted(path),
        percent=f"{kit.late.percent_per_day:g}", days=kit.late.days,
    )  # fmt: skip
    stages = (
        _STAGE.substitute(
            name=_quoted(stage.name), title=_quoted(stage.title), due=due.get(stage.name, stage.due).isoformat(),
            notebooks=json.dumps(stage.notebooks),
        )
        for stage in kit.stages
    )  # fmt: skip
    return head + "".join(stages)


def readme_text(*, name: str, title: str, path: str, stage: str) -> str:
    """Return ``README.md``, which names the commands that come next."""
    return _README.substitute(id=name, title=title, kit=path, stage=stage)


def gradebook_text(url: str) -> str:
    """Return what stands in ``nbgrader_config.py`` for a gradebook elsewhere."""
    return _GRADEBOOK.substitute(url=json.dumps(url))
