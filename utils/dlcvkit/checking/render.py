"""A report as text, as HTML and as JSON. Hidden reports show names, points, verdicts and hints, never values."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from dlcvkit.checking import messages
from dlcvkit.checking.findings import Finding, Kind, Quantity, Report

_SAFE_WHEN_HIDDEN = {Kind.MISSING, Kind.MUTATED, Kind.FORBIDDEN, Kind.LOOP, Kind.RANDOM, Kind.DEVICE}


def reason(finding: Finding, *, is_hidden: bool) -> str:
    """Return what is wrong in one line; for a hidden report without inputs and values."""
    if not is_hidden:
        return finding.text
    if finding.kind in _SAFE_WHEN_HIDDEN:
        return finding.text
    if finding.kind is Kind.COULD_NOT_CHECK:
        return messages.HIDDEN_REFERENCE_FAILED.format(error=finding.diagnosis)
    case = f" ({finding.case})" if finding.case else ""
    if finding.kind is Kind.RAISED:
        name = finding.text.partition(" raised ")[0]
        return messages.HIDDEN_RAISED.format(name=name, error=finding.diagnosis, case=case)
    return messages.HIDDEN_FAILS.format(case=case)


def details(finding: Finding, *, is_hidden: bool) -> list[tuple[str, str]]:
    """Return the labelled lines below the reason: where it differs first, the likely mistake, one hint."""
    lines: list[tuple[str, str]] = []
    if finding.first and (not is_hidden or finding.kind is Kind.RAISED):
        lines.append(("at" if finding.kind is Kind.RAISED else "first", finding.first))
    is_said = finding.diagnosis is not None and finding.diagnosis.removeprefix("it is ") in finding.text
    is_said = is_said or (not is_hidden and "; it is " in finding.text)
    if finding.diagnosis and not is_said and finding.kind not in {Kind.RAISED, Kind.PROPERTY, Kind.COULD_NOT_CHECK}:
        lines.append(("likely", finding.diagnosis))
    if finding.hint:
        lines.append(("hint", finding.hint))
    return lines


def _shows_case(finding: Finding, is_hidden: bool) -> bool:
    return bool(finding.case) and not is_hidden and finding.kind not in _SAFE_WHEN_HIDDEN


def points_text(value: float) -> str:
    """Return points without a needless decimal: ``2``, ``1.5``."""
    return f"{value:g}"


def _title(report: Report) -> str:
    hidden = "  (with hidden cases)" if report.is_hidden else ""
    return f"{points_text(report.earned)} / {points_text(report.possible)}{hidden}"


def _error_text(quantity: Quantity) -> str:
    if quantity.error is None or not quantity.is_right:
        return ""
    return f"error {quantity.error:.0e}" if quantity.error else "exact"


def as_text(report: Report) -> str:
    """Return the report for a terminal, a few lines of plain text."""
    width = max(len(quantity.name) for quantity in report.quantities)
    lines = [f"{report.exercise}   {_title(report)}"]
    if report.problem is not None:
        lines += _text_of(
            f"  FAIL  {points_text(0)}/{points_text(report.possible)}  ", report.problem, report.is_hidden
        )
        return "\n".join(lines)
    for quantity in report.quantities:
        score = f"{points_text(quantity.earned)}/{points_text(quantity.possible)}"
        if quantity.finding is None:
            lines.append(f"  pass  {score}  {quantity.name:<{width}}  {_error_text(quantity)}".rstrip())
        else:
            lines += _text_of(f"  FAIL  {score}  {quantity.name:<{width}}  ", quantity.finding, report.is_hidden)
    lines += [f"  note  {note}" for note in report.notes]
    return "\n".join(lines)


def _text_of(start: str, finding: Finding, is_hidden: bool) -> list[str]:
    case = f" [{finding.case}]" if _shows_case(finding, is_hidden) else ""
    lines = [start + reason(finding, is_hidden=is_hidden) + case]
    return lines + [f"{'':>{len(start)}}{label}: {text}" for label, text in details(finding, is_hidden=is_hidden)]


# No colour of text stands out enough from white and from every theme's black, so words stand white on these; everything
# else is inherited from the theme.
_PASS, _FAIL, _NOTE = "#1a7f4b", "#b3263a", "#8a5a00"
_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;border:none;white-space:normal"
_ANY_WIDTH = "overflow-wrap:anywhere;word-break:break-word"


def as_html(report: Report) -> str:
    """Return the report as one HTML table: no script, everything escaped, legible in light and dark themes."""
    colour = _PASS if report.verdict == "pass" else _FAIL
    head = (
        f'<div style="border-left:4px solid {colour};padding:2px 10px;max-width:60em" role="group" '
        f'aria-label="{escape(report.exercise)}: {escape(_title(report))} points">'
        f"<b>{escape(report.exercise)}</b>&ensp;{escape(_title(report))}"
    )
    if report.problem is not None:
        possible = points_text(report.possible)
        rows = [_html_row("FAIL", f"0/{possible}", "", _html_of(report.problem, report.is_hidden))]
    else:
        rows = [
            _html_row(
                "pass" if quantity.is_right else "FAIL",
                f"{points_text(quantity.earned)}/{points_text(quantity.possible)}",
                quantity.name,
                escape(_error_text(quantity))
                if quantity.finding is None
                else _html_of(quantity.finding, report.is_hidden),
            )
            for quantity in report.quantities
        ]
    notes = "".join(f'<div style="{_ANY_WIDTH}">{_badge("note", _NOTE)} {escape(note)}</div>' for note in report.notes)
    table = f'<table style="border-collapse:collapse;margin:2px 0;background:none">{"".join(rows)}</table>'
    return f"{head}{table}{notes}</div>"


def _badge(text: str, colour: str) -> str:
    return f'<b style="background-color:{colour};color:#ffffff;border-radius:3px;padding:0 5px">{text}</b>'


def _html_row(status: str, score: str, name: str, content: str) -> str:
    colour = _PASS if status == "pass" else _FAIL
    mark = "✓" if status == "pass" else "✗"
    named = f'<td style="{_CELL}"><code>{escape(name)}</code></td>' if name else ""
    return (
        f'<tr style="background:none"><td style="{_CELL};white-space:nowrap">{_badge(f"{mark} {status}", colour)}</td>'
        f'<td style="{_CELL}">{score}</td>{named}'
        f'<td style="{_CELL};{_ANY_WIDTH}">{content}</td></tr>'
    )


def _html_of(finding: Finding, is_hidden: bool) -> str:
    case = f" <i>[{escape(finding.case)}]</i>" if _shows_case(finding, is_hidden) else ""
    lines = [escape(reason(finding, is_hidden=is_hidden)) + case]
    lines += [f"<i>{label}:</i> {escape(text)}" for label, text in details(finding, is_hidden=is_hidden)]
    return "<br>".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for programs; hidden reports hold no values here either."""

    def reason_of(finding: Finding | None) -> str | None:
        return None if finding is None else reason(finding, is_hidden=report.is_hidden)

    first = report.findings[0] if report.findings else None
    return {
        "exercise": report.exercise,
        "verdict": report.verdict,
        "earned": report.earned,
        "possible": report.possible,
        "hidden": report.is_hidden,
        "reason": reason_of(first),
        "diagnosis": None if first is None else first.diagnosis,
        "hint": None if first is None else first.hint,
        "quantities": [
            {
                "name": quantity.name,
                "earned": quantity.earned,
                "possible": quantity.possible,
                "ok": quantity.is_right,
                "reason": reason_of(quantity.finding),
            }
            for quantity in report.quantities
        ],
        "notes": list(report.notes),
    }


class Summary:
    """All exercises checked so far, as a table.

    Args:
        reports: The last report of each exercise, in the order of first checking.
    """

    def __init__(self, reports: Sequence[Report]) -> None:
        self.reports = list(reports)

    @property
    def earned(self) -> float:
        """Points earned over all reports."""
        return sum(report.earned for report in self.reports)

    @property
    def possible(self) -> float:
        """Points that the checked exercises are worth."""
        return sum(report.possible for report in self.reports)

    def __str__(self) -> str:
        if not self.reports:
            return messages.SUMMARY_EMPTY
        width = max(len(report.exercise) for report in self.reports)
        lines = [f"{messages.SUMMARY_TITLE}   {points_text(self.earned)} / {points_text(self.possible)}"]
        for report in self.reports:
            score = f"{points_text(report.earned)}/{points_text(report.possible)}"
            lines.append(f"  {report.exercise:<{width}}  {score:>7}  {report.verdict}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.reports:
            return escape(messages.SUMMARY_EMPTY)
        rows = "".join(
            _html_row(
                "pass" if report.verdict == "pass" else "FAIL",
                f"{points_text(report.earned)}/{points_text(report.possible)}",
                report.exercise,
                "" if report.verdict == "pass" else escape(report.verdict),
            )
            for report in self.reports
        )
        title = f"<b>{messages.SUMMARY_TITLE}</b>&ensp;{points_text(self.earned)} / {points_text(self.possible)}"
        table = f'<table style="border-collapse:collapse;margin:2px 0;background:none">{rows}</table>'
        return f'<div style="max-width:60em">{title}{table}</div>'
