"""How commands speak: results on stdout, what went wrong in one line on stderr, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

COLOURS = {"pass": "green", "ok": "green", "FAIL": "red", "fail": "red", "warn": "yellow", "note": "yellow"}


class CannotBeDone(Exception):
    """The command stops with exit code 2; the message says why, in one line."""


def complain(reason: object) -> None:
    """Print one line on stderr."""
    typer.echo(f"dlcvkit: {' '.join(str(reason).split())}", err=True)


def say(text: str, *, style: str = "") -> None:
    """Print text as it stands, wrapped nowhere; on a terminal a line's first word, such as FAIL, is in colour."""
    shown = Text(text, style=style)
    for word, colour in COLOURS.items():
        shown.highlight_regex(rf"(?m)^ *{word}(?= )", f"bold {colour}")
    Console(highlight=False, soft_wrap=True).print(shown)


def say_json(value: Any) -> None:
    """Print a value as JSON, one document on one line where it is not for people."""
    typer.echo(json.dumps(value, ensure_ascii=False))
