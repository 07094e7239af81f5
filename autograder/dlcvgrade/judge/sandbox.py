"""The sandbox: a bubblewrap command, and what can be said about the isolation that it gives on this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dlcvgrade.judge import syscalls

BOX, SITE, HOME = "/box", "/site", "/tmp/home"
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin")
_PROGRAM = "import sys; sys.path += {paths!r}; from dlcvgrade.judge.worker import main; main()"


@dataclass(frozen=True)
class Isolation:
    """What stands between student code and the machine.

    Attributes:
        level: ``bubblewrap`` or ``none``.
        filters_system_calls: Whether student code is kept from starting processes and reaching into others.
        why: Why the level is not higher; empty if it is the highest.
    """

    level: str
    filters_system_calls: bool
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for a result."""
        return asdict(self)


@cache
def isolation() -> Isolation:
    """Try the sandbox once and say what is available."""
    has_filter = syscalls.is_known()
    why = "" if has_filter else "no filter on system calls for this processor"
    program = shutil.which("bwrap")
    if program is None:
        return Isolation("none", has_filter, "bubblewrap is not installed; `apt-get install bubblewrap` mends it")
    command = [*_walls(program), "--", _python(), "-I", "-S", "-c", "pass"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Isolation("none", has_filter, f"bubblewrap does not start: {error}")
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Isolation("none", has_filter, f"bubblewrap does not work here: {reason}")
    return Isolation("bubblewrap", has_filter, why)


def _interpreter_folders() -> list[str]:
    """Return the folders that Python itself needs, without those that are bound anyway."""
    found = {sys.base_prefix, sys.base_exec_prefix, str(Path(_python()).parent.parent)}
    return sorted(folder for folder in found if not folder.startswith("/usr"))


def _walls(program: str) -> list[str]:
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    command += ["--unshare-user", "--uid", "65534", "--gid", "65534", "--hostname", "grader", "--cap-drop", "ALL"]
    for folder in _SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            command += ["--ro-bind", folder, folder]
    for folder in _interpreter_folders():
        command += ["--ro-bind", folder, folder]
    return command


def _python() -> str:
    """Return the interpreter itself: a virtual environment's link would lead into the repository."""
    return str(Path(sys.executable).resolve())


def worker_command(box: Path, *, is_sandboxed: bool, scratch: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts a worker, and its environment.

    Args:
        box: The folder from ``fill_box``.
        is_sandboxed: Whether to build the sandbox; without it the worker runs as an ordinary process.
        scratch: Folder for the worker's files when there is no sandbox.
    """
    python = [_python(), "-I", "-S", "-B", "-c"]
    site = sysconfig.get_path("purelib")
    if not is_sandboxed:
        home = str(scratch)
        return [*python, _PROGRAM.format(paths=[str(box), site]), home], {"HOME": home, "TMPDIR": home}
    program = shutil.which("bwrap")
    assert program is not None, "isolation() said that there is one"
    command = _walls(program)
    command += ["--ro-bind", str(box), BOX, "--ro-bind", site, SITE]
    for package in ("dlcvkit", "dlcvgrade"):
        if (Path(site) / package).is_dir():  # installed, not linked: references and exercises would be in there
            command += ["--tmpfs", f"{SITE}/{package}", "--remount-ro", f"{SITE}/{package}"]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(16 * 2**20), "--tmpfs", "/dev/shm"]
    command += ["--size", str(64 * 2**20), "--tmpfs", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/"]
    command += ["--setenv", "HOME", HOME, "--setenv", "PATH", "/nowhere", "--setenv", "LANG", "C.UTF-8"]
    command += ["--chdir", "/tmp", "--", *python, _PROGRAM.format(paths=[BOX, SITE]), "/tmp", "/dev/shm"]
    return command, {}
