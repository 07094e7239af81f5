"""How far a batch is: how many, how fast, how long still, and what the verdicts are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SILENCE = 30.0
"""Seconds between two lines where there is no terminal to draw a bar on."""


class BatchProgress:
    """A bar on a terminal, and a line now and then anywhere else.

    Args:
        console: Where to show it.
        total: Number of submissions.
    """

    def __init__(self, console: Console, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("grading", total=total)
        self._console, self._total = console, total
        self._counts: Counter[str] = Counter()
        self._seen, self._new = 0, 0
        self._start = self._told = time.monotonic()

    def __enter__(self) -> BatchProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def add(self, result: Mapping[str, Any], is_new: bool) -> None:
        """Count a result; one that stood from before says nothing about the speed."""
        self._counts.update(entry["verdict"] for entry in result["exercises"])
        self._seen += 1
        self._new += is_new
        self._bar.update(self._task, advance=1, description=f"grading {self.rate():.0f}/min ({self.verdicts()})")
        now = time.monotonic()
        if not self._console.is_terminal and is_new and now - self._told >= _SILENCE:
            self._told = now
            self._console.print(self.line())

    def rate(self) -> float:
        """Return submissions a minute."""
        return 60 * self._new / max(time.monotonic() - self._start, 1e-9)

    def verdicts(self) -> str:
        """Return how many exercises got which verdict, the commonest first."""
        return ", ".join(f"{count} {verdict}" for verdict, count in self._counts.most_common())

    def line(self) -> str:
        """Return all of it in one line."""
        rate = self.rate()
        left = f", {(self._total - self._seen) / rate:.0f} min left" if rate else ""
        return f"graded      {self._seen} of {self._total}, {rate:.0f}/min{left} ({self.verdicts()})"
