"""nbgrader as a library: one place that calls it and looks at whether it succeeded."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SAWarning
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from dlcvgrade.course import Course
from dlcvgrade.problems import NbgraderFailed
from dlcvgrade.settings import SOURCE, configure

CONFIG = "nbgrader_config.py"
_REASON = re.compile(r"^[\w.]*(?:Error|Exception|Failed)\b.*")


def open_api(course: Course, root: Path, source: str = SOURCE) -> NbGraderAPI:
    """Return nbgrader's API for a course.

    Args:
        course: The course.
        root: Where nbgrader's folders and the gradebook lie.
        source: Folder with the solved notebooks, relative to ``root``.
    """
    config = Config()
    configure(config, course, root=root, source=source)
    return _api(config, root)


def open_course(course: Course) -> NbGraderAPI:
    """Return nbgrader's API for a course where it lies, set up by its own ``nbgrader_config.py`` if it has one."""
    if not (course.root / CONFIG).is_file():
        return open_api(course, course.root)
    return _api(PyFileConfigLoader(CONFIG, path=str(course.root)).load_config(), course.root)


def _api(config: Config, root: Path) -> NbGraderAPI:
    # The API lists the exchange when it starts; one that is surely there keeps it quiet on machines without.
    exchange = root / "build" / "exchange"
    exchange.mkdir(parents=True, exist_ok=True)
    config.Exchange.root = str(exchange)
    config.NbGraderAPI.log_level = logging.WARNING
    return NbGraderAPI(coursedir=CourseDirectory(config=config), config=config)


def failed(call: Callable[..., Mapping[str, Any]], *arguments: Any) -> str | None:
    """Call nbgrader's API, which raises nothing when it fails, and return why it failed; None if it did not.

    Args:
        call: A method of the API.
        arguments: Its arguments.
    """
    with warnings.catch_warnings():
        # nbgrader's own way with its gradebook, which nobody here can do anything about.
        warnings.simplefilter("ignore", SAWarning)
        result = call(*arguments)
    if result["success"]:
        return None
    if str(result.get("error", "")).rstrip().endswith("KeyboardInterrupt"):
        raise KeyboardInterrupt  # nbgrader catches this as well
    lines = f"{result.get('error', '')}\n{result.get('log', '')}".splitlines()
    reasons = [line.strip() for line in lines if _REASON.match(line.strip())]
    # nbgrader's own exception only says that something went wrong and where to read about it.
    telling = [line for line in reasons if "NbGraderException" not in line]
    return next(iter(telling or reasons), "nbgrader gave no reason")


def demand(call: Callable[..., Mapping[str, Any]], *arguments: Any) -> None:
    """Call nbgrader's API and insist on success.

    Args:
        call: A method of the API.
        arguments: Its arguments.

    Raises:
        NbgraderFailed: If it does not succeed.
    """
    failure = failed(call, *arguments)
    if failure:
        name = getattr(call, "__name__", "nbgrader")
        raise NbgraderFailed(f"nbgrader {name} {' '.join(map(str, arguments))}: {failure}")
