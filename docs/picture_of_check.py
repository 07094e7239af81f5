"""Make docs/images/check.png: a failing and a passing check, as a notebook shows them.

python docs/picture_of_check.py     needs Chromium on the PATH
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image, ImageChops

WRONG = """def compute_distances_no_loops(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    squares = (a**2).sum(1, keepdim=True) + (b**2).sum(1)
    return squares - a @ b.T

check("a1/knn_no_loops", compute_distances_no_loops);"""
RIGHT = WRONG.replace("squares - a @", "squares - 2 * a @")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OUT = Path(__file__).parent / "images" / "check.png"


def main() -> None:
    """Run the two cells, render them, and cut the picture to size."""
    browser = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit("picture_of_check: no Chromium found (Debian: apt-get install chromium)")
    cells = [nbformat.v4.new_code_cell(source) for source in ("from dlcvkit import check", WRONG, RIGHT)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3").execute()
    notebook.cells = notebook.cells[1:]
    html, _ = HTMLExporter(template_name="lab").from_notebook_node(notebook)
    with tempfile.TemporaryDirectory() as name:
        page, shot = Path(name, "page.html"), Path(name, "shot.png")
        page.write_text(html, encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        flags += ["--hide-scrollbars", "--force-device-scale-factor=1.5", "--window-size=980,800"]
        command = [browser, *flags, f"--user-data-dir={name}/profile", f"--screenshot={shot}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture = Image.open(shot).convert("RGB")
        empty = Image.new("RGB", picture.size, picture.getpixel((picture.width - 2, picture.height - 2)))
        _, top, right, bottom = ImageChops.difference(picture, empty).getbbox() or (0, 0, *picture.size)
        OUT.parent.mkdir(exist_ok=True)
        picture.crop((0, max(top - 10, 0), right, bottom + 10)).save(OUT, optimize=True)
    print(OUT)


if __name__ == "__main__":
    main()
