"""Makes nbgrader, formgrader and the exchange work from the repository's root; what differs by term is course.toml."""

from pathlib import Path

from dlcvgrade.course import read_course
from dlcvgrade.settings import configure

configure(get_config(), read_course(Path(__file__).resolve().parent))  # type: ignore[name-defined]  # noqa: F821
