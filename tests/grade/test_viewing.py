"""What is left of a student's HTML; how it looks in nbgrader's pages is asked in ``tests/grade/attacks``."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup

from dlcvgrade.viewing import MOST_TEXT, clean_html, markdown2html, strip_files

PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    "html",
    [
        "<p>a <b>b</b> <em>c</em> <code>d</code><br></p>",
        '<a href="https://example.org/?a=1&amp;b=2" title="t">x</a> <a href="mailto:a@b.c">z</a>',
        f'<img src="{PNG}" alt="x"> <img src="plot.png" width="10">',
        '<div class="highlight hl-python"><pre><span class="k">def</span></pre></div>',
        '<table><tbody><tr><td style="text-align: left;" colspan="2">1</td></tr></tbody></table>',
        "$a&lt;b$ and \\(x\\)",
    ],
)
def test_honest_html_stays(html):
    assert clean_html(html) == html


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<p onclick=alert(1)>x</p>",
        "<a href=javascript:alert(1)>x</a>",
        "<a href='java&#9;script:alert(1)'>x</a>",
        "<a href='data:text/html,x'>x</a>",
        "<a href='&#100;a&#9;ta:text/html,x'>x</a>",
        f"<a href='{PNG}'>x</a>",
        "<img src='data:image/svg+xml;base64,PHN2Zy8+'>",
        "<img src='vbscript:x'>",
        "<iframe src=x></iframe><object data=x></object><embed src=x>",
        "<div style='position: fixed; color: red'>x</div>",
        "<div style='background-image: url(https://example.org)'>x</div>",
        "<span class='score tabbable' id='check-knn'>x</span>",
    ],
)
def test_what_runs_or_looks_like_the_page_is_gone(html):
    for tag in BeautifulSoup(clean_html(html), "html.parser").find_all(True):
        assert tag.name in ("p", "a", "img", "div", "span")
        assert not set(tag.attrs) - {"style"}
        assert tag.attrs.get("style", "color: red;") in ("color: red;", "")


def test_path_that_becomes_a_script_is_gone():
    assert strip_files('<a href="files/plot.png">x</a>') == '<a href="plot.png">x</a>'
    for prefix in ("files/", "/files/", "files/files/"):
        assert "href" not in strip_files(strip_files(f'<a href="{prefix}javascript:alert(1)">x</a>'))


def rendered(source, **cell):
    return markdown2html({"cell": cell}, source)


def test_text_that_cannot_be_rendered_is_shown_as_it_was_written():
    assert rendered("![x](attachment:<gone>.png)") == "<pre>![x](attachment:&lt;gone&gt;.png)</pre>"
    assert PNG in rendered("![x](attachment:a)", attachments={"a": {"image/png": PNG.partition(",")[2]}})


def test_long_text_is_cut():
    page = rendered("x" * (MOST_TEXT + 7))
    assert "7 more characters" in page
    assert page.count("x") == MOST_TEXT
