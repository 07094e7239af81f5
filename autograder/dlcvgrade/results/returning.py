"""Feedback pages as Canvas and Moodle take them back: in a zip, each under a name that says whose it is.

The numbers in the names are those of the download that was imported, and no other part of a name can be read as one.

Source:
    Canvas: ``infer_comment_context_from_filename`` in ``app/models/abstract_assignment.rb`` of instructure/canvas-lms.
    It splits at underscores and takes the first two parts that are digits alone for the user and for one of the files
    that this user handed in; ``anon`` as the first part means something else. It then shows the page under that file's
    name (issue 2406). ``lib/zip_extractor.rb`` drops folders.
    Moodle: ``is_valid_filename_for_import`` in ``mod/assign/feedback/file/importziplib.php`` of moodle/moodle. It
    splits at the first four underscores and wants the participant's number second, then kind and name of a plugin;
    names that begin with ``.`` or ``~`` are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from dlcvgrade.handins.people import student_id
from dlcvgrade.handins.systems import HandIn
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.feedback import STUDENTS, page_path
from dlcvgrade.results.plain import plain
from dlcvgrade.results.reading import Result

PAGE = "feedback.html"
"""What a page is called on Moodle."""
NOTES = {"canvas": "; Canvas will show each under the name of the student's own file"}
"""What to tell of a platform when its zip is written."""
_ELSEWHERE = {
    "nbgrader": "nbgrader returns its own with `nbgrader release_feedback`",
    "gradescope": "its results.json holds what students are shown",
}


def returned_name(handin: HandIn, system: str) -> str:
    """Return the name under which a platform takes a student's page back.

    Args:
        handin: What the student handed in, with the platform's numbers.
        system: ``canvas`` or ``moodle``.

    >>> returned_name(HandIn("lovelaceada", "11", 900), "canvas")
    'lovelaceada_11_900_feedback.html'
    >>> returned_name(HandIn("Ada Lovelace", "501"), "moodle")
    'Ada-Lovelace_501_assignsubmission_file_feedback.html'
    """
    return f"{_label(handin.name)}_{_NUMBERS[system](handin)}_{PAGE}"


_NUMBERS: Mapping[str, Callable[[HandIn], str]] = {
    "canvas": lambda handin: f"{handin.number}_{handin.newest}",
    "moodle": lambda handin: f"{handin.number}_assignsubmission_file",
}


def _label(name: str) -> str:
    """Return a student's name for people to read: one part without underscores that is no number and no keyword."""
    label = student_id(name).replace("_", "-")
    return label if label and not label.isdigit() and label.casefold() != "anon" else f"student-{label}".rstrip("-")


def require_takes_pages(system: str) -> None:
    """Do nothing for a system that takes pages back.

    Raises:
        CourseProblems: If there is no need of them, or no way.
    """
    if system not in _NUMBERS:
        told = f"is of no use to {system}; expected {' or '.join(_NUMBERS)} with it: {_ELSEWHERE[system]}"
        raise CourseProblems([Problem("--download", told)])


def pages_to_return(
    results: Sequence[Result],
    told: Collection[str],
    handins: Mapping[str, HandIn],
    folder: Path,
    system: str,
    download: Path,
) -> tuple[dict[str, bytes], list[Problem]]:
    """Return the pages under the names by which a platform hands them to students.

    Args:
        results: One for each student at most.
        told: Students of whom it was already told why none of their results is used.
        handins: Student's id to what is in the download.
        folder: What ``dlcvgrade feedback`` wrote.
        system: ``canvas`` or ``moodle``.
        download: The download, for messages.

    Returns:
        Name to page, and a problem for each student of either side who gets none.

    Raises:
        CourseProblems: If the folder is none of feedback pages.
    """
    if not (folder / STUDENTS).is_dir():
        why = f"holds no folder {STUDENTS}; expected what `dlcvgrade feedback --out` wrote"
        raise CourseProblems([Problem(plain(str(folder)), why)])
    shown = plain(str(download))
    pages, problems = {}, []
    for result in results:
        handin = handins.get(result.student)
        page = _page_of(result, folder)
        if handin is None:
            why = f"is not in {shown}; expected the download, and the roster if any, that was imported"
        elif not handin.number:
            why = f"has several numbers in {shown}; expected one, so nobody gets this page"
        elif page is None:
            why = f"has no page {page_path(result)} in {plain(str(folder))}; expected one of `dlcvgrade feedback`"
        else:
            pages[returned_name(handin, system)] = page
            continue
        problems.append(Problem(f"{plain(result.key)}.json", f"{plain(result.student, 80)} {why}"))
    missing = handins.keys() - {result.student for result in results} - set(told)
    problems += [Problem(shown, f"{plain(student)} has no result; expected one") for student in sorted(missing)]
    return pages, problems


def _page_of(result: Result, folder: Path) -> bytes | None:
    try:
        return (folder / page_path(result)).read_bytes()
    except OSError:
        return None
