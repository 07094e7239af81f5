"""What a browser shows of a submission, in formgrader and in nbgrader's feedback: text and pictures, and no script.

nbgrader's templates put a student's text into the page as it is, and formgrader's page may do all that whoever grades
may do. nbconvert's ``sanitize_html`` reaches outputs only; the filters here take the places of those that the templates
use for text, and ``Undress`` takes away what comes into the page past any filter. ``dlcvgrade.settings`` sets them.

Text is cleaned after it was rendered: what a link becomes is known only then.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from bleach.css_sanitizer import CSSSanitizer
from bleach.sanitizer import Cleaner
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.filters import strip_files_prefix
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from dlcvgrade.markers import outside_lines

MOST_TEXT = 200_000
"""Characters of a cell that are shown; rendering takes far longer for a text that is made for it."""
NOT_SHOWN = "… {count} more characters are not shown"

_TAGS = frozenset(
    "a abbr b blockquote br caption center code col colgroup dd del details dfn div dl dt em figcaption figure font h1 "
    "h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strike strong sub summary sup table tbody td "
    "tfoot th thead tr tt u ul var".split()
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "col": {"span"},
    "font": {"color"},
    "img": {"alt", "height", "src", "title", "width"},
    "ol": {"start"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan", "scope"},
}
_EVERYWHERE = frozenset({"aria-label", "role", "style", "title"})
# Pygments' classes and nothing else: the scripts of a page find its buttons and fields by class and id.
_CLASS = re.compile(r"(?:highlight|hl-\w+|[a-z][a-z0-9]{0,2})(?: (?:highlight|hl-\w+|[a-z][a-z0-9]{0,2}))*")
_BLANK = re.compile(r"[\x00-\x20\x7f-\xa0\s]+")
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)
# What stays in its place: nothing here can cover another part of the page.
_STYLES = (
    "background-color border border-bottom border-collapse border-left border-right border-top color font-style "
    "font-weight text-align text-decoration vertical-align white-space max-width".split()
)


def _is_allowed(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return tag in ("div", "pre", "span", "code") and _CLASS.fullmatch(value.strip()) is not None
    # As a browser reads an address: entities mean their letters, and blanks in it mean nothing.
    if _BLANK.sub("", unescape(value)).lower().startswith("data:"):
        return tag == "img" and name == "src" and _PICTURE.fullmatch(value.strip()) is not None
    return name in _EVERYWHERE or name in _ATTRIBUTES.get(tag, ())


_cleaner = Cleaner(
    tags=_TAGS,
    attributes=_is_allowed,
    protocols={"http", "https", "mailto", "data"},
    css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLES),
)


def clean_html(text: Any) -> str:
    """Return HTML in which no script, form, frame or foreign style is left; what is not allowed is shown as text."""
    cleaned: str = _cleaner.clean(text.decode(errors="replace") if isinstance(text, bytes) else str(text))
    return cleaned


def _as_written(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


@pass_context
def markdown2html(context: Context, source: str) -> str:
    """Return a student's text as HTML that can be shown to anybody; a text that cannot be rendered, as it was written.

    Args:
        context: nbconvert's record of the page; the cell's attachments are taken from it.
        source: The text.
    """
    text, rest = source[:MOST_TEXT], len(source) - MOST_TEXT
    try:
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = IPythonRenderer(escape=False, attachments=attachments, exclude_anchor_links=True)
        page = clean_html(MarkdownWithMath(renderer=renderer).render(text))
    except Exception:  # whatever mistune and nbconvert stumble over: a missing attachment stops the whole page
        page = _as_written(text)
    return page if rest <= 0 else page + _as_written(NOT_SHOWN.format(count=rest))


def strip_files(text: str) -> str:
    """Return HTML whose links into ``files/`` are relative, cleaned again: what was a path may be a script then."""
    strip: Any = strip_files_prefix
    return clean_html(strip(text))


FILTERS = {"clean_html": clean_html, "markdown2html": markdown2html, "strip_files_prefix": strip_files}
"""nbconvert's name of a filter to ours."""


class Undress(Preprocessor):  # type: ignore[misc]
    """Takes from a notebook what templates would put into a page unseen: metadata of cells, raw cells and names."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Leave of a notebook what is shown.

        Args:
            nb: An autograded notebook; modified in place.
            resources: nbconvert's record of the page; what formgrader says about the student is escaped.
        """
        for cell in nb.cells:
            entry = cell.metadata.get("nbgrader")
            cell.metadata = NotebookNode({} if entry is None else {"nbgrader": entry})
            if cell.cell_type == "raw":
                cell.cell_type = "markdown"
        for key in ("student", "first_name", "last_name", "notebook_path"):
            if isinstance(resources.get(key), str):
                resources[key] = escape(resources[key])
        return nb, resources


class HideTests(NbGraderPreprocessor):  # type: ignore[misc]
    """Leaves the text of hidden tests out of what goes back to students; the reports below it stay."""

    def preprocess_cell(self, cell: NotebookNode, resources: Any, index: int) -> tuple[NotebookNode, Any]:
        """Shorten the text of a cell that grades."""
        if cell.metadata.get("nbgrader", {}).get("grade") and cell.cell_type == "code":
            cell.source = "\n".join(outside_lines(cell.source)).rstrip()
        return cell, resources
