"""How fast the judge grades, against nbgrader's own execution and against what was promised; how much memory it takes.

    python benchmarks/grading.py [--quick] [--part classes|sizes|engines]...

Everything is made in a temporary folder and measured there, in one run on one machine:

- a class that hands in all notebooks of a1: solved, half solved, three with a mistake, one that raises, in turns.
  `dlcvgrade grade --jobs 2` grades it from start to end, imports included, several times; the median counts.
  nbgrader grades one submission of each kind with its own preprocessors (Execute, SaveAutoGrades), imports not
  included; the mean over the kinds, which are equally frequent, counts. Once with the demo cells (training, plots),
  which the judge does not run and nbgrader does, and once with these removed from both;
- submissions of one notebook, each different: two sizes of class, and what the larger one adds. The coordinator's
  memory is the peak of its resident set; a worker's is the peak of the anonymous memory of all processes in its
  sandbox, that is, all but the pages of torch's files;
- two workers on a Dask cluster on this machine against `--jobs 2`.

The three parts stand in this order; all are measured if none is named. --quick takes a few minutes: small classes, one
solved submission for nbgrader, and demos at a tenth of their length.
Exit code 0: every target is met; 1: one is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

from distributed import Client
from nbgrader.apps.api import NbGraderAPI
from rich.console import Console
from rich.table import Table

from dlcvgrade.build import Built, build, write_files
from dlcvgrade.course import Course, read_course
from dlcvgrade.demo.course_loop import submit
from dlcvgrade.demo.students import students_of
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.release import write_release
from dlcvgrade.session import demand, open_api

ROOT = Path(__file__).parents[1]
STAGE, NOTEBOOK = "a1", "linear_losses"
KINDS = ("correct", "half-done", "bug-keeps-the-root", "bug-loses-the-rest", "bug-ties-go-up", "raises")
MIB = 2**20
# Longer than any demo, so that nothing is cut off that stock execution has to do.
CELL_SECONDS = 600


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    measured: float
    target: float
    unit: str
    is_met: bool
    how: str = ""


def at_least(what: str, measured: float, target: float, unit: str, how: str = "") -> Row:
    return Row(what, measured, target, unit, measured >= target, how)


def at_most(what: str, measured: float, target: float, unit: str, how: str = "") -> Row:
    return Row(what, measured, target, unit, measured <= target, how)


def as_table(rows: Sequence[Row]) -> Table:
    table = Table(title="grading", title_justify="left")
    for column in ("what", "measured", "target", "met", "how"):
        table.add_column(column, overflow="fold")
    for row in rows:
        measured, target = f"{row.measured:.3g}{row.unit}", f"{row.target:.3g}{row.unit}"
        table.add_row(row.what, measured, target, "yes" if row.is_met else "MISSED", row.how)
    return table


def exit_code(rows: Sequence[Row]) -> int:
    """Return 0 if every target is met, 1 if one is not or nothing was measured."""
    return 0 if rows and all(row.is_met for row in rows) else 1


@dataclass(frozen=True)
class Graded:
    """One run of ``dlcvgrade grade``: wall time, and peaks of memory in bytes."""

    seconds: float
    coordinator: int
    worker: int


@dataclass(frozen=True)
class Memory:
    """Memory of one process: own and peak in bytes, and whose child it is."""

    parent: int
    name: str
    anonymous: int
    peak: int


def read_memory(pid: int, *, is_exact: bool) -> Memory | None:
    """Return what /proc says about a process; None if it is gone."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        peak = int(status.get("VmHWM", "0 kB").split()[0]) * 1024
        anonymous = 0
        if is_exact:  # slow enough to be left out where nobody asks
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            anonymous = sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss_Anon:"))
        return Memory(int(status["PPid"]), status["Name"].strip(), anonymous, peak)
    except (OSError, KeyError, ValueError):
        return None


def families(pid: int) -> Iterator[list[int]]:
    """Yield, for every child of a process, the child with all its descendants."""
    parents = {int(path.name): read_memory(int(path.name), is_exact=False) for path in Path("/proc").glob("[0-9]*")}
    children: dict[int, list[int]] = {}
    for child, memory in parents.items():
        if memory is not None:
            children.setdefault(memory.parent, []).append(child)
    for child in children.get(pid, []):
        family = [child]
        for member in family:
            family += children.get(member, [])
        yield family


def grade(course: Course, folder: Path, paths: Sequence[str], *options: str, every: float = 1.0) -> Graded:
    """Run ``dlcvgrade grade`` and watch it.

    Args:
        course: The course.
        folder: Where to run it; its results go to a folder in there.
        paths: What was handed in, as seen from there.
        options: Further options.
        every: Seconds between two looks at its memory.
    """
    with tempfile.TemporaryDirectory(dir=folder) as results, tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "dlcvgrade", "grade", STAGE, *paths, "--json", results, *options]
        start = time.monotonic()
        process = subprocess.Popen(
            [*command, "--course", str(course.root)], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        coordinator = worker = 0
        while True:
            try:
                code = process.wait(timeout=every)
                break
            except subprocess.TimeoutExpired:
                own = read_memory(process.pid, is_exact=False)
                coordinator = max(coordinator, own.peak if own else 0)
                for family in families(process.pid):
                    found = [read_memory(pid, is_exact=True) for pid in family]
                    worker = max(worker, sum(memory.anonymous for memory in found if memory))
        seconds = time.monotonic() - start
        if code not in (0, 1):
            log.seek(0)
            raise RuntimeError(f"grading failed:\n{log.read().decode()[-2000:]}")
        return Graded(seconds, coordinator, worker)


def make_class(course: Course, built: Built, out: Path, count: int) -> None:
    """Let ``count`` students hand in to ``out/submitted``."""
    stage = course.stage(STAGE)
    release = write_release(course, stage, built, out / "release")
    known = {student.name: student for student in students_of(STAGE)}
    kinds = [known[kind] for kind in KINDS]
    students = [replace(kinds[n % len(kinds)], name=f"{n:04d}-{kinds[n % len(kinds)].name}") for n in range(count)]
    submit(built, stage, release, out, students)


def remove_demos(folder: Path) -> int:
    """Take the demo cells out of all notebooks in a folder; return how many."""
    removed = 0
    for path in sorted(folder.rglob("*.ipynb")):
        notebook = read_notebook(path.read_bytes())
        cells = [cell for cell in notebook.cells if "demo" not in cell.metadata.get("tags", [])]
        removed += len(notebook.cells) - len(cells)
        notebook.cells = cells
        path.write_bytes(notebook_bytes(notebook))
    return removed


def open_stock(course: Course, built: Built, root: Path) -> NbGraderAPI:
    """Return nbgrader as it comes, with the stage generated from the same sources."""
    write_files({path.relative_to(path.parts[0]): data for path, data in built.source.items()}, root)
    api = open_api(course, root, source="source")
    del api.config["Autograde"], api.config["Execute"]["skip_cells_with_tag"]
    api.config.Execute.timeout = CELL_SECONDS
    demand(api.generate_assignment, STAGE)
    return api


def stock_seconds(api: NbGraderAPI, students: Sequence[str]) -> list[float]:
    """Have nbgrader grade submissions and return the seconds of each."""
    seconds = []
    for student in students:
        start = time.monotonic()
        demand(api.autograde, STAGE, student)
        seconds.append(time.monotonic() - start)
        print(f"nbgrader    {student}: {seconds[-1]:.1f} s", flush=True)
    return seconds


def compare_classes(course: Course, built: Built, folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield the ratios of throughput, with demo cells and without."""
    for has_demos, target in ((True, 20.0), (False, 6.0)):
        home = folder / ("with-demos" if has_demos else "without-demos")
        make_class(course, built, home, sizes.students)
        if not has_demos and not remove_demos(home / "submitted"):
            raise RuntimeError("there is no demo cell to remove, so that nothing would be compared")
        runs = repeat(sizes.repeats, lambda home=home: grade(course, home, ["submitted"], "--jobs", "2"))
        ours = median(run.seconds for run in runs) / sizes.students
        students = sorted(path.name for path in (home / "submitted").iterdir())[: sizes.stock]
        theirs = stock_seconds(open_stock(course, built, home), students)
        how = (
            f"judge {ours:.2f} s per submission (median of {len(runs)} classes of {sizes.students}), nbgrader mean "
            f"{mean(theirs):.1f} s, median {median(theirs):.1f} s of {len(theirs)}"
        )
        what = f"throughput of nbgrader autograde, demo cells {'in' if has_demos else 'removed'}"
        yield at_least(what, mean(theirs) / ours, target, " x", how)


def repeat(count: int, run: Callable[[], Graded]) -> list[Graded]:
    return [run() for _ in range(count)]


def make_many(course: Course, built: Built, out: Path, count: int) -> list[str]:
    """Hand in one notebook ``count`` times, each time another text; return the files' names."""
    make_class(course, built, out, len(KINDS))
    kinds = sorted((out / "submitted").glob(f"*/{STAGE}/{NOTEBOOK}.ipynb"))
    contents = [read_notebook(path.read_bytes()) for path in kinds]
    names = []
    for number in range(count):
        notebook = contents[number % len(contents)]
        notebook.cells[-1].source = f"# {number}"
        names.append(f"s{number:04d}_{NOTEBOOK}.ipynb")
        (out / names[-1]).write_bytes(notebook_bytes(notebook))
    return names


def compare_sizes(course: Course, built: Built, folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield time and memory of a large class of one notebook, and what it adds to a small one."""
    out = folder / "many"
    names = make_many(course, built, out, sizes.many)
    few = repeat(sizes.repeats, lambda: grade(course, out, names[: sizes.few], "--jobs", "2"))
    many = grade(course, out, names, "--jobs", "2", every=5.0)
    per_few, per_many = median(run.seconds for run in few) / sizes.few, many.seconds / sizes.many
    count = f"{sizes.many} submissions of {NOTEBOOK}"
    yield at_most(count, many.seconds / 60, 6 * sizes.many / 1000, " min", f"{per_many:.3f} s per submission")
    how = f"{per_few:.3f} s at {sizes.few} (median of {len(few)})"
    yield at_most(f"time per submission, to that at {sizes.few}", per_many / per_few, 1.1, " x", how)
    grown = (many.coordinator - median(run.coordinator for run in few)) / MIB
    how = f"peak {many.coordinator / MIB:.0f} MiB"
    yield at_most(f"coordinator's growth from {sizes.few} to {sizes.many}", grown, 50, " MiB", how)
    worker = max(run.worker for run in [*few, many]) / MIB
    yield at_most("a worker's own memory", worker, 400, " MiB", "all but the pages of files, peak")


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Run a scheduler and two workers; give the scheduler's address."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    processes = [subprocess.Popen([*dask, "scheduler", *options, "--host", "127.0.0.1", "--port", "0"], **quiet)]
    try:
        worker = [*dask, "worker", *options, "--nworkers", "2", "--nthreads", "1"]
        processes.append(subprocess.Popen(worker, **quiet))
        with Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def compare_engines(course: Course, built: Built, folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield what grading on a Dask cluster of this machine costs beyond local processes."""
    home = folder / "engines"
    make_class(course, built, home, sizes.students)
    ours, theirs = [], []
    with cluster(folder) as address:
        for _ in range(sizes.repeats):
            ours.append(grade(course, home, ["submitted"], "--jobs", "2").seconds)
            theirs.append(grade(course, home, ["submitted"], "--scheduler", address).seconds)
    how = f"{median(theirs):.1f} s against {median(ours):.1f} s, median of {sizes.repeats}, a class of {sizes.students}"
    yield at_most("Dask with two workers, to --jobs 2", median(theirs) / median(ours), 1.1, " x", how)


@dataclass(frozen=True)
class Sizes:
    """How much is measured: class, repeats, submissions for nbgrader, and the two classes of one notebook."""

    students: int
    repeats: int
    stock: int
    few: int
    many: int


PARTS = {"classes": compare_classes, "sizes": compare_sizes, "engines": compare_engines}
FULL = Sizes(students=30, repeats=3, stock=len(KINDS), few=100, many=1000)
QUICK = Sizes(students=6, repeats=1, stock=1, few=20, many=60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, a few minutes")
    parser.add_argument("--part", action="append", choices=PARTS, help="what to measure; everything if not given")
    given = parser.parse_args()
    sizes = QUICK if given.quick else FULL
    os.environ["DLCVKIT_FAST"] = str(int(sizes is QUICK))
    course = read_course(ROOT)
    built = build(course, stages=[STAGE])
    rows: list[Row] = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="dlcv-benchmark-") as temporary:
        folder = Path(temporary)
        for name, part in PARTS.items():
            if given.part and name not in given.part:
                continue
            for row in part(course, built, folder, sizes):
                rows.append(row)
                print(f"{row.what}: {row.measured:.3g}{row.unit}", flush=True)
    console = Console() if Console().is_terminal else Console(width=150)
    console.print(as_table(rows))
    console.print(f"{os.cpu_count()} processors; load {load:.1f} before the start, {os.getloadavg()[0]:.1f} at the end")
    return exit_code(rows)


if __name__ == "__main__":
    raise SystemExit(main())
