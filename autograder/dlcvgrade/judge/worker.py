"""The process inside the sandbox: imports torch once, then forks one child for every exercise it is given.

The parent never runs student code. It holds the control socket; a child holds two pipes and nothing else: its request
on descriptor 3, its reply on 4. The child cannot fork, so when it is gone, nothing of it is left but files, and those
are deleted before the next exercise. What the child says about itself (no forbidden operation, inputs unchanged) is
its own word: student code runs in the same process and can take over whatever watches it. What cannot be forged is
the answer: the expected values are not in the sandbox.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
from typing import Any

CONTROL, REQUEST, REPLY, FIRST_FREE = 0, 3, 4, 5
SCRATCH = ("/tmp", "/dev/shm")
_PRELOADED = """math time itertools random warnings numpy matplotlib.pyplot matplotlib.collections tqdm tqdm.auto
safetensors.torch torch.nn.functional dlcvkit dlcvkit.data dlcvkit.plotting dlcvkit.settings
dlcvkit.layers dlcvkit.linear dlcvkit.training dlcvkit.answers IPython.display dlcvkit_calls""".split()


def _preload() -> None:
    import importlib

    os.environ.update(
        {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    )
    import torch

    torch.set_num_threads(1)
    for name in _PRELOADED:
        importlib.import_module(name)


def _limit(limits: dict[str, int]) -> None:
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    seconds = limits["cpu_seconds"]
    for what, value in (
        (resource.RLIMIT_AS, mapped + limits["memory"]),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NPROC, limits["processes"]),
    ):
        resource.setrlimit(what, (value, value + (what == resource.RLIMIT_CPU)))


def _become_child(fds: list[int], limits: dict[str, int]) -> None:
    """Give up everything but the request, the reply and the output pipe, for good."""
    request, reply, output = (os.dup2(fd, 100 + number) for number, fd in enumerate(fds))
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (output, 1), (output, 2), (request, REQUEST), (reply, REPLY)):
        os.dup2(source, target, inheritable=True)
    os.closerange(FIRST_FREE, 65536)
    os.setsid()
    _limit(limits)
    from dlcvgrade.judge import syscalls

    if syscalls.is_known():
        syscalls.install()


def _fork(fds: list[int], limits: dict[str, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become_child(fds, limits)
        from dlcvgrade.judge import attempt

        attempt.answer(REQUEST, REPLY)
        code = 0
    except BaseException:
        code = 70
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return 0  # never reached


def _wait(pid: int, control: socket.socket) -> int:
    """Return how the child ended; a word from the judge ends it at once."""
    child = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([child, control.fileno()], [], [])
        if child not in ready:
            control.recv(16)
            os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(child)


def _sweep(scratch: list[str]) -> bool:
    """Delete what the child left behind; return whether nothing is left."""
    if os.getpid() == 1:  # the first process of its own namespace: this cannot reach anything outside
        try:
            os.kill(-1, signal.SIGKILL)
            while True:
                os.waitpid(-1, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    is_clean = True
    for folder in scratch:
        for entry in os.scandir(folder):
            try:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
            except (OSError, RecursionError):
                is_clean = False
    return is_clean


def serve(control: socket.socket, scratch: list[str]) -> None:
    """Run one exercise after the other until the judge hangs up."""
    control.send(json.dumps({"ready": True}).encode())
    while True:
        message, fds, _, _ = socket.recv_fds(control, 65536, 3)
        if not message:
            return
        if len(fds) != 3:  # the word to end a child that had ended by itself
            continue
        pid = _fork(fds, json.loads(message))
        for fd in fds:
            os.close(fd)
        status = _wait(pid, control)
        control.send(json.dumps({"status": status, "clean": _sweep(scratch)}).encode())


def main() -> None:
    """Start the worker; its control socket is its standard input, its arguments are the folders to keep clean."""
    from dlcvgrade.judge import syscalls

    syscalls.hide_from_others()
    control = socket.socket(fileno=os.dup(CONTROL))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, CONTROL)
    scratch: list[Any] = sys.argv[1:]
    for folder in scratch:
        os.makedirs(folder, exist_ok=True)
    gc.disable()  # what is imported stays
    _preload()
    from dlcvgrade.judge import attempt, forking

    attempt.warm_up()
    forking.prepare_to_fork()
    gc.enable()
    _sweep(scratch)
    serve(control, scratch)


if __name__ == "__main__":
    main()
