"""What one exercise and one submission may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one exercise, and the time of a whole submission.

    Attributes:
        wall_seconds: From the request to the end of the reply, the notebook's cells included.
        cell_share: Share of that time after which a cell that still runs is interrupted, for the exercise's sake.
        cpu_seconds: Processor time, all threads together.
        memory: Bytes of address space beyond what the worker has mapped before.
        file_bytes: Largest file that can be written.
        open_files: Descriptors.
        processes: Processes of the user; counts where the grader is not root. The filter on system calls forbids
            new ones in any case.
        output_bytes: What may be printed before it counts as a flood.
        reply_bytes: What the answers to all cases may take.
        submission_seconds: Wall time of all exercises of a submission.
    """

    wall_seconds: float = 20.0
    cell_share: float = 0.4
    cpu_seconds: int = 20
    memory: int = 2 * 2**30
    file_bytes: int = 32 * 2**20
    open_files: int = 128
    processes: int = 512
    output_bytes: int = 8 * 2**20
    reply_bytes: int = 64 * 2**20
    submission_seconds: float = 180.0

    def for_worker(self) -> dict[str, int]:
        """Return what the worker sets for its child."""
        return {
            "cpu_seconds": self.cpu_seconds,
            "memory": self.memory,
            "file_bytes": self.file_bytes,
            "open_files": self.open_files,
            "processes": self.processes,
        }
