"""nbgrader as a library: one place that calls it and looks at whether it succeeded."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbgrader.api
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy import inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SAWarning, SQLAlchemyError
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


def knows_stage(api: NbGraderAPI, stage: str) -> bool:
    """Return whether a stage has been generated in the gradebook; none is created by asking.

    Raises:
        NbgraderFailed: If there is a gradebook and it cannot be read.
    """
    url = make_url(api.coursedir.db_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return False
    engine = nbgrader.api.create_engine(url)
    try:
        if not inspect(engine).has_table("assignment"):
            return False
        with api.gradebook as gradebook:
            return bool(gradebook.find_assignment(stage).notebooks)
    except nbgrader.api.MissingEntry:
        return False
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        where = url.render_as_string(hide_password=True)
        raise NbgraderFailed(f"the gradebook {where} cannot be read: {reason}") from None
    finally:
        engine.dispose()


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
