"""A process made ready for forking still holds what it held."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """\
import gc, mmap, os, sys
from dlcvgrade.judge.forking import _written_regions, prepare_to_fork
values = [str(number) for number in range(300_000)]
block = bytearray(os.urandom(8 * 2**20))
total, copy = sum(map(int, values)), bytes(block)
prepare_to_fork()
assert gc.get_freeze_count() > 1000
assert sum(end - start for start, end in _written_regions()) > 8 * 2**20
for _ in range(2):
    pid = os.fork()
    if not pid:
        is_same = sum(map(int, values)) == total and bytes(block) == copy
        values[:] = []
        block[:] = bytes(len(block))
        os._exit(0 if is_same else 1)
    assert os.waitpid(pid, 0)[1] == 0
assert sum(map(int, values)) == total and bytes(block) == copy
print("same")
"""


def test_parent_and_children_find_their_memory_as_it_was():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("same\n", "")
