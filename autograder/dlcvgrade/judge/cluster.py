"""Grading on a Dask cluster: submissions go out as bytes, results come back as JSON, and a lost worker loses nothing.

The coordinator decides by itself which worker gets what: left to the scheduler, a submission that takes its worker down
would be blamed together with whatever waited behind it.
"""

from __future__ import annotations

import atexit
import queue
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
import torch
from distributed import KilledWorker

from dlcvgrade.judge.batch import BROKE, Examiner
from dlcvgrade.judge.coordinator import Engine, Keep, Result
from dlcvgrade.judge.parcels import Kit, Parcel, kit_of, pack
from dlcvgrade.judge.sandbox import isolation
from dlcvgrade.judge.scratch import ScratchFolder
from dlcvgrade.judge.submissions import Submission
from dlcvgrade.judge.workers import Worker
from dlcvgrade.problems import CourseProblems, Problem

CONNECT_SECONDS = 10
WORKERS_SECONDS = 60.0
RESULT_SECONDS = 15
TRIES = 2
GIVEN_UP = "the machines that graded it went down {count} times"
UNSENT = "{file} could not be opened: {why}; this is a fault of the grader's machine"
_AHEAD = 2
"""Submissions that a worker's thread has at hand, so that it need not wait for the next."""
wait: Any = distributed.wait  # without types


class NoSandbox(RuntimeError):
    """A worker of the cluster cannot grade safely; the message says why."""


class _Desk(threading.local):
    """What a thread of a worker keeps between two submissions."""

    key = ""
    examiner: Examiner
    worker: Worker


_desk = _Desk()


def grade_parcel(kit: Kit, key: str, parcel: Parcel) -> Result:
    """Grade a submission; this runs on the workers of the cluster.

    Raises:
        NoSandbox: If there is none on this machine, and one is asked for.
    """
    if _desk.key != key:
        found = isolation()
        if found.level == "none" and kit.needs_sandbox:
            raise NoSandbox(found.why)
        specs = ScratchFolder()
        atexit.register(specs.remove)
        _desk.examiner = Examiner(kit.unpack(specs.path), found, limits=kit.limits, seed=kit.seed)
        _desk.worker = _desk.examiner.worker()
        atexit.register(_desk.worker.__exit__, None, None, None)
        _desk.key = key
        torch.set_num_threads(1)
    with ScratchFolder() as folder:
        return _desk.examiner.grade_one(parcel.unpack(folder), _desk.worker).as_json()


@dataclass(frozen=True)
class _Flight:
    """A submission that a worker has."""

    submission: Submission
    worker: str
    future: Any


class _Dispatcher:
    """Hands submissions to workers and takes results, until there is nothing left."""

    def __init__(self, client: Any, examiner: Examiner, kit: Kit, submissions: Sequence[Submission]) -> None:
        self._client, self._examiner, self._kit, self._key = client, examiner, kit, kit.key()
        self._waiting = deque(submissions)
        self._suspects: deque[Submission] = deque()
        self._flights: list[_Flight] = []  # in the order of departure
        self._tries: dict[str, int] = {}

    def run(self) -> Iterator[tuple[Submission, Result]]:
        """Yield each submission with its result as it comes.

        Raises:
            CourseProblems: If there are no workers, or they are not made for this.
        """
        seen = time.monotonic()
        while self._waiting or self._suspects or self._flights:
            threads = self._client.nthreads()
            yield from self._bury(threads)
            yield from self._send(threads)
            if threads:
                seen = time.monotonic()
            elif time.monotonic() - seen > WORKERS_SECONDS:
                raise _stopped(self._client, f"has had no workers for {WORKERS_SECONDS:g} s")
            if not self._flights:
                time.sleep(0.2)
                continue
            try:
                done = wait([flight.future for flight in self._flights], timeout=1, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for flight in [flight for flight in self._flights if flight.future in done]:
                try:
                    result = self._landed(flight)
                except TimeoutError:  # the worker went down with the result; _bury sees to it
                    continue
                self._flights.remove(flight)
                yield flight.submission, result

    def stop(self) -> None:
        """Take back what the workers still have."""
        for flight in self._flights:
            flight.future.cancel()

    def _send(self, threads: dict[str, int]) -> Iterator[tuple[Submission, Result]]:
        """Give every worker something to do; a suspect gets a worker for itself."""
        for worker, count in threads.items():
            mine = [flight.submission for flight in self._flights if flight.worker == worker]
            if any(self._tries.get(submission.student) for submission in mine):
                continue
            for _ in range(_AHEAD * count - len(mine)):
                if self._waiting:
                    yield from self._depart(self._waiting.popleft(), worker)
            is_free = not any(flight.worker == worker for flight in self._flights)
            if is_free and not self._waiting and self._suspects:
                yield from self._depart(self._suspects.popleft(), worker)

    def _depart(self, submission: Submission, worker: str) -> Iterator[tuple[Submission, Result]]:
        try:
            parcel = pack(submission, self._examiner.answers(submission))
        except OSError as error:
            reason = UNSENT.format(file=Path(str(error.filename)).name, why=error.strerror)
            yield submission, self._examiner.undecided(submission, reason).as_json()
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the size of a submission
            future = self._client.submit(
                grade_parcel, self._kit, self._key, parcel, workers=[worker], allow_other_workers=False, pure=False
            )
        self._flights.append(_Flight(submission, worker, future))

    def _bury(self, threads: dict[str, int]) -> Iterator[tuple[Submission, Result]]:
        """See to the submissions of workers that are gone."""
        for worker in {flight.worker for flight in self._flights} - threads.keys():
            lost = [flight for flight in self._flights if flight.worker == worker]
            self._flights = [flight for flight in self._flights if flight.worker != worker]
            for flight in lost:
                is_done = flight.future.status != "pending"  # though its result is gone with the worker
                flight.future.cancel()
                if is_done:
                    self._waiting.appendleft(flight.submission)
                    continue
                student = flight.submission.student
                self._tries[student] = self._tries.get(student, 0) + 1
                if self._tries[student] < TRIES:
                    self._suspects.append(flight.submission)
                else:
                    yield flight.submission, self._given_up(flight.submission, self._tries[student])

    def _landed(self, flight: _Flight) -> Result:
        """Return the result of a submission that is done.

        Raises:
            TimeoutError: If it does not arrive.
            CourseProblems: If the worker is not made for this.
        """
        try:
            result: Result = flight.future.result(timeout=RESULT_SECONDS)
        except TimeoutError:
            raise
        except KilledWorker as error:
            return self._given_up(flight.submission, error.allowed_failures + 1)
        except NoSandbox as error:
            raise _stopped(self._client, f"has a worker without a sandbox: {error}; --unsafe grades there") from None
        except Exception as error:
            reason = BROKE.format(error=type(error).__name__)
            return self._examiner.undecided(flight.submission, reason).as_json()
        for name, value in self._examiner.material.hashes.items():
            if result["hashes"][name] != value:
                raise _stopped(self._client, f"has a worker with another {name} than here ({flight.worker})")
        return result

    def _given_up(self, submission: Submission, count: int) -> Result:
        return self._examiner.undecided(submission, GIVEN_UP.format(count=count)).as_json()


def _stopped(client: Any, what: str) -> CourseProblems:
    return CourseProblems([Problem(client.scheduler.address, f"{what}; run the same again to go on")])


def _connect(address: str) -> Any:
    connect: Any = distributed.Client  # without types
    try:
        return connect(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        what = f"no Dask scheduler answers there within {CONNECT_SECONDS} s ({type(error).__name__})"
        raise CourseProblems([Problem(f"--scheduler {address}", what)]) from None


def cluster_engine(examiner: Examiner, address: str, *, unsafe: bool = False) -> Engine:
    """Return an engine that grades on a Dask cluster.

    Args:
        examiner: Who grades here; the workers do as it would.
        address: The scheduler's, such as ``tcp://host:8786``.
        unsafe: Whether workers without a sandbox may grade.
    """

    def dispatch(
        submissions: Sequence[Submission], keep: Keep, put: Callable[[Any], None], stop: threading.Event
    ) -> None:
        try:
            with _connect(address) as client:
                kit = kit_of(examiner, needs_sandbox=not unsafe)
                dispatcher = _Dispatcher(client, examiner, kit, submissions)
                try:
                    for submission, result in dispatcher.run():
                        keep(submission, result)
                        put((submission, result))
                        if stop.is_set():
                            break
                finally:
                    dispatcher.stop()
            put(None)
        except BaseException as error:
            put(error)

    def grade(submissions: Sequence[Submission], keep: Keep) -> Iterator[tuple[Submission, Result]]:
        # In a thread, so that the workers do not wait while somebody writes results into a gradebook.
        arrivals: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stop = threading.Event()
        thread = threading.Thread(target=dispatch, args=(submissions, keep, arrivals.put, stop), daemon=True)
        thread.start()
        try:
            while (arrived := arrivals.get()) is not None:
                if isinstance(arrived, OSError):
                    what = f"is lost ({type(arrived).__name__}); run the same again to go on"
                    raise CourseProblems([Problem(f"the scheduler {address}", what)]) from None
                if isinstance(arrived, BaseException):
                    raise arrived
                yield arrived
        finally:
            stop.set()

    return grade
