"""The judge's end of a worker: start it, hand it one exercise after the other, and never wait longer than allowed."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from dlcvgrade.judge.box import fill_box
from dlcvgrade.judge.frames import BadFrame, FrameReader, FrameTooLarge
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.sandbox import worker_command
from dlcvgrade.judge.scratch import ScratchFolder
from dlcvkit.checking import Exercise

START_SECONDS = 120.0
_GRACE_SECONDS = 10.0
_PIECE = 2**18
_MAX_FRAMES = 500
_MAX_HEADER = 16 * 2**20


class WorkerFailed(RuntimeError):
    """The worker itself does not start or does not answer: a fault of the grader's, or of the machine."""


@dataclass
class Run:
    """What came out of one exercise in the worker.

    Attributes:
        frames: The reply, as (header, safetensors bytes).
        status: How the process ended, as ``os.waitpid`` says it; None if the worker was lost with it.
        is_timeout: Whether it was ended for taking too long.
        is_flood: Whether it was ended for printing or replying too much.
        is_malformed: Whether the reply was no sequence of frames.
        is_clean: Whether the worker could delete everything that was left behind.
        printed: Bytes printed.
        seconds: Wall time.
    """

    frames: list[tuple[Any, bytes]] = field(default_factory=list)
    status: int | None = None
    is_timeout: bool = False
    is_flood: bool = False
    is_malformed: bool = False
    is_clean: bool = False
    printed: int = 0
    seconds: float = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether the worker went away by itself, so that nothing is known about the exercise."""
        return self.status is None and not (self.is_timeout or self.is_flood or self.is_malformed)


class Worker:
    """A worker process; started when it is first needed, and again whenever its state is in doubt.

    Args:
        exercises: Those it is to run.
        is_sandboxed: Whether it runs in bubblewrap.
    """

    def __init__(self, exercises: Sequence[Exercise], *, is_sandboxed: bool = True) -> None:
        self._scratch = ScratchFolder()
        self._folder = self._scratch.path
        self._is_sandboxed = is_sandboxed
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.starts = 0
        fill_box(self._folder / "box", exercises)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._scratch.remove()

    def stop(self) -> None:
        """End the worker and everything in its sandbox."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> socket.socket:
        scratch = self._folder / "scratch"
        scratch.mkdir(exist_ok=True)
        command, environment = worker_command(
            self._folder / "box", is_sandboxed=self._is_sandboxed, scratch=scratch / "home"
        )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log = self._folder / "worker.log"
        with theirs, log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=output, stderr=output, env=environment
            )
        self._control = ours
        self.starts += 1
        ours.settimeout(START_SECONDS)
        message = b""
        with suppress(TimeoutError, OSError):
            message = ours.recv(4096)
        if not message:
            self.stop()
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise WorkerFailed(f"the worker does not start: {lines[-1][:300] if lines else 'it says nothing'}")
        return ours

    def run(self, request: bytes, limits: Limits, wall_seconds: float) -> Run:
        """Run one exercise.

        Args:
            request: A frame for ``attempt.answer``.
            limits: What it may use.
            wall_seconds: Wall time it may take, at most that of ``limits``.

        Raises:
            WorkerFailed: If the worker does not start.
        """
        control = self._control or self._start()
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        for fd in ours:
            os.set_blocking(fd, False)
        run = Run()
        start = time.monotonic()
        try:
            socket.send_fds(control, [json.dumps(limits.for_worker()).encode()], theirs)
        except OSError:
            for fd in ours:
                os.close(fd)
            self.stop()
            return run
        finally:
            for fd in theirs:
                os.close(fd)
        try:
            _Exchange(control, ours, request, limits, min(wall_seconds, limits.wall_seconds), run).finish()
        finally:
            for fd in ours:
                os.close(fd)
        run.seconds = time.monotonic() - start
        if not run.is_clean:  # what one student left behind must not meet the next
            self.stop()
        return run


class _Exchange:
    """One request and its reply: writes, reads and watches the clock at the same time."""

    def __init__(
        self, control: socket.socket, fds: list[int], request: bytes, limits: Limits, wall_seconds: float, run: Run
    ) -> None:
        self._control, self._limits, self._run = control, limits, run
        self._open = fds
        self._request_fd, self._reply_fd, self._output_fd = fds
        self._unsent = memoryview(request)
        self._reader = FrameReader(_MAX_HEADER, limits.reply_bytes, limits.reply_bytes + _MAX_HEADER)
        self._deadline = time.monotonic() + wall_seconds
        self._is_ending = False

    def finish(self) -> None:
        """Serve all descriptors until the worker says how the child ended."""
        poll = select.poll()
        for fd in (self._reply_fd, self._output_fd, self._control.fileno()):
            poll.register(fd, select.POLLIN)
        poll.register(self._request_fd, select.POLLOUT)
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                if self._is_ending:
                    return  # the worker does not obey either
                self._run.is_timeout = True
                self._end()
                continue
            for fd, event in poll.poll(1000 * left):
                if fd == self._request_fd:
                    if self._send(event):
                        poll.unregister(fd)
                        self._open.remove(fd)
                        os.close(fd)
                elif fd == self._control.fileno():
                    self._read_status()
                    self._drain()
                    return
                elif not self._receive(fd):
                    poll.unregister(fd)

    def _end(self) -> None:
        """Have the child ended, and give the worker a little time to say so."""
        if not self._is_ending:
            self._is_ending = True
            self._deadline = time.monotonic() + _GRACE_SECONDS
            with suppress(OSError):
                self._control.send(b"kill")

    def _send(self, event: int) -> bool:
        """Send a piece of the request; return whether there is nothing more to do."""
        if event & (select.POLLERR | select.POLLHUP):
            return True
        with suppress(BlockingIOError):
            try:
                self._unsent = self._unsent[os.write(self._request_fd, self._unsent[:_PIECE]) :]
            except BrokenPipeError:
                return True
        return not self._unsent

    def _receive(self, fd: int) -> bool:
        """Take in what has arrived; return whether more may come."""
        try:
            piece = os.read(fd, _PIECE)
        except BlockingIOError:
            return True
        if not piece:
            return False
        if fd == self._output_fd:
            self._run.printed += len(piece)
            if self._run.printed > self._limits.output_bytes:
                self._run.is_flood = True
                self._end()
        elif not (self._run.is_flood or self._run.is_malformed):
            self._take(piece)
        return True

    def _take(self, piece: bytes) -> None:
        try:
            self._run.frames += self._reader.feed(piece)
            if len(self._run.frames) > _MAX_FRAMES:
                raise FrameTooLarge("more frames than any exercise has cases")
        except FrameTooLarge:
            self._run.is_flood = True
            self._end()
        except BadFrame:
            self._run.is_malformed = True
            self._end()

    def _read_status(self) -> None:
        try:
            message = json.loads(self._control.recv(4096))
        except (OSError, ValueError):
            return
        self._run.status, self._run.is_clean = int(message["status"]), bool(message["clean"])

    def _drain(self) -> None:
        for fd in (self._reply_fd, self._output_fd):
            while self._receive(fd):
                if not select.select([fd], [], [], 0)[0]:
                    break
        if not self._reader.is_between_frames and not self._run.is_flood:
            self._run.is_malformed = True
