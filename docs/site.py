"""Build the site: the pages of ``docs/``, and every solved notebook with its pictures.

    python docs/site.py [--no-notebooks]

The notebooks are run with DLCVKIT_FAST=1 on drawn data and kept in build/docs, so that the next call runs only those
that changed. A broken link or a notebook that fails ends with exit code 1 and one line for each.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dlcvgrade.course import read_course

ROOT = Path(__file__).parents[1]
STAGED = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
PAGES = (".md", ".png", ".svg")
AT_ONCE = 2


def run_notebook(source: Path, target: Path) -> str | None:
    """Run a notebook into ``target``, unless what lies there is of the same source; return what failed."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if target.is_file() and nbformat.read(target, as_version=4).metadata.get("source") == digest:
        return None
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "DLCVKIT_FAST": "1",
            "DLCVKIT_DATA": f"{folder}/data",
            "DLCVKIT_STATE": f"{folder}/state",
            "DLCVKIT_SPECS": str(ROOT / "autograder/specs"),
            "OMP_NUM_THREADS": "1",
        }
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        try:
            client.execute(env={**os.environ, **settings})
        except CellExecutionError as error:
            return f"{source.relative_to(ROOT)}: {error.ename}: {error.evalue}"
    for cell in notebook.cells:
        # A bar that ran to its end says nothing on a page.
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.metadata["source"] = digest
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return None


def stage_pages(stages: list[tuple[str, str, list[str]]]) -> Path:
    """Copy the pages to where the site is made from, and return the configuration with the notebooks in it."""
    pages = [path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in PAGES]
    targets = {STAGED / path.relative_to(ROOT / "docs"): path for path in pages}
    for target, path in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for left_over in {path for path in STAGED.rglob("*") if path.suffix in PAGES} - set(targets):
        left_over.unlink()
    settings = yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"))
    settings["docs_dir"], settings["site_dir"] = str(STAGED), str(SITE)
    if stages:
        settings["nav"].append(
            {
                "Solved notebooks": [
                    {f"{name}, {title}": [f"notebooks/{name}/{topic}.ipynb" for topic in topics]}
                    for name, title, topics in stages
                ]
            }
        )
    configuration = ROOT / "build" / "mkdocs.yml"
    configuration.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return configuration


def main() -> int:
    """Build the site; 1 if anything in it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-notebooks", action="store_true", help="leave the solved notebooks out")
    stages = [] if parser.parse_args().no_notebooks else [
        (stage.name, stage.title, list(stage.notebooks)) for stage in read_course(ROOT).stages
    ]  # fmt: skip
    names = [f"{stage}/{topic}.ipynb" for stage, _, topics in stages for topic in topics]
    wanted = {STAGED / "notebooks" / name for name in names}
    for left_over in set(STAGED.rglob("*.ipynb")) - wanted:
        left_over.unlink()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = list(pool.map(lambda n: run_notebook(ROOT / "solutions" / n, STAGED / "notebooks" / n), names))
    for failure in filter(None, failures):
        print(f"docs: {failure}", file=sys.stderr)
    if any(failures):
        return 1
    configuration = stage_pages(stages)
    # Not with --quiet: mkdocs counts only the warnings that it shows.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "-f", str(configuration)]
    done = subprocess.run(command, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True)
    code = done.returncode
    for line in done.stderr.splitlines() if code else ():
        print(f"docs: {line}", file=sys.stderr)
    if code == 0:
        print(f"{SITE / 'index.html'}: {len(list(SITE.rglob('*.html')))} pages, {len(names)} notebooks")
    return 1 if code else 0


if __name__ == "__main__":
    raise SystemExit(main())
