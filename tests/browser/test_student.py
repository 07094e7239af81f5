"""A student's first ten minutes in JupyterLab."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch

from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import make_cell, notebook_bytes, read_notebook

ROOT = Path(__file__).parents[2]
EXERCISE, FUNCTION = "a1/select_rows_by_mask", "select_rows_by_mask"

pytestmark = pytest.mark.browser


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(ROOT / "assignments" / "a1", folder)
    return folder


WRONG = """def compute_distances_no_loops(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    squares = (a**2).sum(1, keepdim=True) + (b**2).sum(1)
    return squares - a @ b.T

check("a1/knn_no_loops", compute_distances_no_loops);"""
DISTANCES = {"wrong": WRONG, "right": WRONG.replace("squares - a @", "squares - 2 * a @")}


def run_all(page, address):
    """Open a notebook and run all of its cells."""
    page.goto(address)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def solution() -> str:
    solved = read_notebook((ROOT / "solutions/a1/tensors.ipynb").read_bytes())
    (cell,) = (c for c in solved.cells if c.metadata.get("nbgrader", {}).get("grade_id") == FUNCTION)
    return without_markers(cell.source)


def test_a_failing_check_turns_into_a_passing_one(page, serve, work, shoot):
    address = serve(work)
    run_all(page, f"{address}/lab/tree/tensors.ipynb")

    # The first check says what is missing.
    check = page.locator(".jp-CodeCell", has_text=f'check("{EXERCISE}"')
    check.get_by_text("is not written yet").first.wait_for()
    check.scroll_into_view_if_needed()
    shoot(page, "student-1-not-written")

    # Write the function, run its cell and the check below it.
    cell = page.locator(".jp-CodeCell", has_text=f"def {FUNCTION}").first
    editor = cell.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(solution())
    page.keyboard.press("Control+Enter")
    check.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    check.get_by_text("2 / 2").first.wait_for()
    assert check.get_by_text("is not written yet").count() == 0
    check.scroll_into_view_if_needed()
    shoot(page, "student-2-passes")

    # nbgrader's button says which checks still fail.
    page.keyboard.press("Control+S")
    page.get_by_role("button", name="Validate").first.click()
    dialog = page.locator(".jp-Dialog", has_text="Validation")
    dialog.wait_for()
    shoot(page, "student-3-validate")
    assert "fail" in dialog.inner_text().lower()


def test_the_same_notebook_runs_in_notebook_7(page, serve, work, shoot):
    address = serve(work, app="notebook")
    run_all(page, f"{address}/notebooks/tensors.ipynb")
    check = page.locator(".jp-CodeCell", has_text=f'check("{EXERCISE}"')
    check.get_by_text("is not written yet").first.wait_for()
    check.scroll_into_view_if_needed()
    shoot(page, "student-4-notebook-7")
    assert "0 / 2" in check.inner_text()
    assert page.get_by_role("button", name="Validate").first.is_visible()


def test_a_check_names_the_likely_mistake(page, serve, tmp_path, shoot):
    folder = tmp_path / "work"
    folder.mkdir()
    texts = {"start": "from dlcvkit import check", **DISTANCES}
    cells = [make_cell("code", text, name) for name, text in texts.items()]
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    (folder / "distances.ipynb").write_bytes(notebook_bytes(notebook))
    page.set_viewport_size({"width": 1000, "height": 1000})
    run_all(page, f"{serve(folder, app='notebook')}/notebooks/distances.ipynb")
    wrong, right = (page.locator(".jp-CodeCell", has_text=text) for text in ("squares - a @", "squares - 2 * a @"))
    wrong.get_by_text("the cross term lacks its factor 2").first.wait_for()
    right.get_by_text("4 / 4").first.wait_for()
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    top, bottom = wrong.bounding_box(), right.bounding_box()
    shoot(page, "check", clip={**top, "height": bottom["y"] + bottom["height"] - top["y"]})


@pytest.mark.parametrize(("theme", "width"), [("light", 480), ("dark", 1280)])
def test_a_report_is_legible_in_both_themes_and_on_a_narrow_window(browser, tmp_path, shoot, theme, width):
    """The text stands out from its background, nothing sticks out of the window, and a reader finds names and roles."""
    from dlcvkit import checking
    from dlcvkit.checking.render import as_html

    def noisy(a, b):
        raise ValueError("a_word_without_any_place_to_break_it_" * 5)

    wrong = checking.check_functions(checking.find_exercise("a1/knn_no_loops"), [noisy])
    right = checking.check_functions(checking.find_exercise("a1/make_one_hot"), [one_hot])
    wrong = replace(wrong, notes=("a remark that costs no points",))
    report = as_html(wrong) + as_html(right)
    grounds = {"light": "#ffffff", "dark": "#111111"}
    colours = {"light": "#000000", "dark": "#e8e8e8"}
    style = f"--jp-layout-color0:{grounds[theme]};--jp-content-font-color1:{colours[theme]}"
    text = f'<body style="background:{grounds[theme]};color:{colours[theme]};{style}">{report}</body>'
    (tmp_path / "report.html").write_text(f"<!DOCTYPE html><html lang=en>{text}</html>", encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 500}, color_scheme=theme)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    shoot(page, f"report-{theme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate(CONTRAST) >= 4.5  # WCAG 2.1, level AA
    context.close()


def one_hot(y, num_classes):
    return (y[:, None] == torch.arange(num_classes, device=y.device)).to(torch.int64)


CONTRAST = """() => {
  const numbers = c => c.match(/[\\d.]+/g).map(Number);
  const linear = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = numbers(c).map(linear); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (numbers(c).length < 4 || numbers(c)[3] > .99) return c;
    }
    return "rgb(255, 255, 255)";
  };
  let worst = 99;
  for (const e of document.body.querySelectorAll("*")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(getComputedStyle(e).color), b = light(ground(e));
    worst = Math.min(worst, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return worst; }"""
