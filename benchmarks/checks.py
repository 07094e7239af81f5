"""How long a public check takes beyond the student's own function, and what importing the kit costs beyond torch.

    python benchmarks/checks.py [STAGE]

Prints one line per exercise, and the figures that the README quotes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch

from dlcvgrade.course import read_course
from dlcvgrade.mutants.subjects import subjects
from dlcvkit.checking import SavedAnswer, check_functions
from dlcvkit.checking.run import one_thread

REPEATS = 20


def milliseconds(task) -> float:
    start = time.perf_counter()
    task()
    return 1000 * (time.perf_counter() - start)


def own_time(exercise, functions) -> float:
    """Return what the function itself takes on the public cases, once each."""
    total = 0.0
    with torch.no_grad(), one_thread():
        for case in exercise.cases:
            inputs = case.build(0)
            total += milliseconds(partial(exercise.run, functions, inputs))
    return total


def import_cost() -> float:
    def seconds(code: str) -> float:
        return min(
            float(
                subprocess.check_output(
                    [sys.executable, "-c", f"import time; s = time.time(); {code}; print(time.time() - s)"]
                )
            )
            for _ in range(5)
        )

    return seconds("import torch; from dlcvkit import check") - seconds("import torch")


def main() -> None:
    stage = sys.argv[1] if len(sys.argv) > 1 else "a1"
    worst = 0.0
    for subject in subjects(read_course(Path(__file__).parents[1]), stage, None):
        exercise = subject.exercise
        functions = subject.solution(subject.notebook.namespace())
        if isinstance(exercise, SavedAnswer):
            continue  # takes a file instead of functions; its time is the evaluation's
        check_functions(exercise, functions)  # the first call compiles and allocates
        own = median(own_time(exercise, functions) for _ in range(5))
        whole = median(milliseconds(partial(check_functions, exercise, functions)) for _ in range(REPEATS))
        worst = max(worst, whole - own)
        print(f"{exercise.id:32} check {whole:7.1f} ms   own {own:7.1f} ms   beyond {whole - own:7.1f} ms")
    print(f"slowest check: {worst:.0f} ms beyond the function's own time (median of {REPEATS})")
    print(f"from dlcvkit import check: {1000 * import_cost():.0f} ms beyond import torch (best of 5)")


if __name__ == "__main__":
    main()
