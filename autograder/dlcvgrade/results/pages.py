"""HTML pages that work without a script, from templates in which every text is escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dlcvgrade.results import wording
from dlcvgrade.results.plain import number, plain
from dlcvgrade.results.reading import ExerciseResult

TEMPLATES = Path(__file__).with_name("templates")
MOST_NOTES = 50


def tone(exercise: ExerciseResult) -> str:
    """Return the CSS class of an exercise; its sign and its words say the same without colour."""
    if exercise.points is None:
        return "open"
    return "good" if exercise.verdict == "pass" else "bad"


def has_parts(exercise: ExerciseResult) -> bool:
    """Return whether an exercise's quantities say more than its verdict: several, and not all wrong for one reason."""
    is_split = exercise.verdict == "wrong" or any(part.is_right for part in exercise.quantities)
    return is_split and exercise.verdict not in ("pass", "could_not_check") and len(exercise.quantities) > 1


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cut": plain,
        "number": number,
        "score": wording.score,
        "sign": wording.sign,
        "lines": wording.lines,
        "tone": tone,
        "has_parts": has_parts,
    }
    return environment


@cache
def _style() -> tuple[str, str]:
    """Return the style sheet, and the policy that allows it and nothing else: no script, picture, font or form."""
    text = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def render(template: str, **values: object) -> str:
    """Return a page.

    Args:
        template: Name of a template in ``templates``.
        values: What it shows; every text is escaped.
    """
    style, policy = _style()
    # Markup: the style sheet is ours, and its hash must fit to the letter.
    common = {"style": Markup(style), "policy": policy, "verdicts": wording.VERDICTS}
    return _environment().get_template(template).render(**common, **values)
