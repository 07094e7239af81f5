# ruff: noqa: E501  (an attack reads best on one line)
"""Attacks on our own grader, inside its own sandbox: each gains nothing and costs its own exercise only.

``ATTACKS`` return wrong answers and try to have them taken for right ones, or to do damage. ``PROBES`` are correct
functions that raise if they can see or do something that they must not: they pass only if the wall holds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dlcvgrade.judge.workers import Worker

OTHERS = ("a1/knn_no_loops", "a1/kfold_indices")


def labels(body: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
    return f"def predict_labels(dists, y_train, k):\n{lines}\n"


WRONG = "return y_train[: len(dists)] * 0"

# Name to (verdict, body of predict_labels).
ATTACKS = {
    "exits": ("crash", "os._exit(0)"),
    "exits_with_a_code": ("crash", "os._exit(7)"),
    "kills_itself": ("crash", "os.kill(os.getpid(), 9)"),
    "segfaults": ("crash", "import ctypes\nctypes.string_at(0)"),
    "aborts": ("crash", "os.abort()"),
    "kills_its_parent": ("error", "os.kill(os.getppid(), 9)"),
    "kills_everybody": ("error", "os.kill(-1, 9)"),
    "stops_its_parent": ("error", "os.kill(1, 19)"),
    "forks": ("error", "while True:\n    os.fork()"),
    "starts_a_program": ("error", "import subprocess\nsubprocess.run(['/usr/bin/env'])"),
    "starts_a_shell": ("error", "assert os.system('sleep 1000 &') == 0"),
    "replaces_itself": ("error", "os.execv('/usr/bin/env', ['env'])"),
    "starts_multiprocessing": ("error", "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()"),
    "hangs": ("timeout", "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"),
    "sleeps": ("timeout", "import time\ntime.sleep(1000)"),
    "ignores_signals": (
        "timeout",
        "import signal\nfor number in range(1, 32):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except OSError:\n        pass\nwhile True:\n    pass",
    ),
    "takes_6_gb": ("out_of_memory", "return torch.ones(6 * 2**30, dtype=torch.uint8)"),
    "takes_6_gb_of_python": ("out_of_memory", "return [bytes(6 * 2**30)]"),
    "takes_memory_bit_by_bit": ("out_of_memory", "kept = []\nwhile True:\n    kept.append(bytearray(2**26))"),
    "starts_threads": (
        "error",
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    ),
    "prints_60_mb": ("flood", "print('x' * 60_000_000)"),
    "prints_60_mb_on_stderr": ("flood", "sys.stderr.write('x' * 60_000_000)"),
    "returns_10_to_the_12": ("out_of_memory", "return torch.zeros(1).expand(10**6, 10**6)"),
    "returns_40_mb": ("flood", "return torch.zeros(5 * 2**20, dtype=torch.float64)"),
    "returns_a_long_list": ("flood", "return [1] * 10**6"),
    "returns_a_deep_list": ("flood", "x = []\nfor _ in range(10_000):\n    x = [x]\nreturn x"),
    "returns_an_endless_dict": ("flood", "x = {}\nx[1] = x\nreturn x"),
    "returns_an_object_array": ("wrong", "import numpy\nreturn numpy.array([object()] * len(dists))"),
    "returns_an_object": ("wrong", "class Evil:\n    def __reduce__(self):\n        return os._exit, (0,)\nreturn Evil()"),
    "returns_a_tensor_that_equals_all": (
        "crash",
        "class Equal(torch.Tensor):\n    def __eq__(self, other):\n        return True\n"
        "    @classmethod\n    def __torch_function__(cls, f, types, args=(), kwargs=None):\n"
        "        return torch.ones(()).bool() if 'eq' in str(f) else super().__torch_function__(f, types, args, kwargs)\n"
        "return (y_train[: len(dists)] * 0).as_subclass(Equal)",
    ),
    "returns_a_float_that_equals_all": (
        "wrong", "class F(float):\n    def __eq__(self, other):\n        return True\nreturn F(1.0)"),
    "returns_nan": ("wrong", "return torch.full((len(dists),), float('nan'))"),
    "announces_4_gb": ("flood", "os.write(4, b'\\xff' * 8)\n" + WRONG),
    "sends_no_json": ("crash", "os.write(4, b'\\0\\0\\0\\4\\0\\0\\0\\0nope')\n" + WRONG),
    "sends_a_pickle": (
        "crash", "import pickle, struct\nbody = pickle.dumps(print)\n"
        "head = b'{\"case\": {\"is\": \"tensor\", \"name\": \"0\"}}'\n"
        "os.write(4, struct.pack('>II', len(head), len(body)) + head + body)\nos._exit(0)"),
    "sends_nothing_to_the_end": ("crash", "os.write(4, b'\\0\\0\\0\\4')\nos._exit(0)"),
    "sends_for_ever": (
        "flood", "import struct\nhead = b'{\"case\": {\"is\": \"plain\", \"value\": null}}'\n"
        "while True:\n    os.write(4, (struct.pack('>II', len(head), 0) + head) * 1000)"),
    "sends_a_deep_header": (
        "crash", "import struct\nhead = b'[' * 100_000\nos.write(4, struct.pack('>II', len(head), 0) + head)\n" + WRONG),
    "says_that_all_is_well": (
        "wrong", "import struct\ndef send(head):\n    os.write(4, struct.pack('>II', len(head), 0) + head)\n"
        "for _ in range(3):\n    send(b'{\"case\": {\"is\": \"plain\", \"value\": true}, \"verdict\": \"pass\", \"points\": 4}')\n"
        "send(b'{\"probe\": null}')\nos._exit(0)"),
    "closes_its_reply": ("crash", "os.close(4)\n" + WRONG),
    "closes_everything": ("crash", "os.closerange(0, 1000)\n" + WRONG),
    "replaces_the_comparison": (
        "wrong",
        "import dlcvkit.checking.compare as c, dlcvkit.checking.exercise as e, dlcvkit.checking.values as v\n"
        "right = lambda *a, **k: (None, 0.0)\nc.compare_leaf = e.compare_leaf = e.compare_tree = right\n"
        "v.is_same = lambda a, b: True\ntorch.equal = torch.allclose = lambda *a, **k: True\n" + WRONG,
    ),
    "replaces_the_judge_of_every_exercise": (
        "wrong",
        "from dlcvkit.checking import Exercise, Function\n"
        "Function.judge = Exercise.judge = lambda *a: {'labels': (None, 0.0)}\n" + WRONG,
    ),
    "replaces_the_observation": (
        "wrong",
        "import dlcvgrade.judge.attempt as attempt\nfrom dlcvkit.checking.observe import Observation\n"
        "attempt.observe = lambda *a, **k: Observation(True)\nattempt.probe = lambda *a: None\n" + WRONG,
    ),
    "looks_for_the_expected_tensor": (
        "wrong",
        "import gc\nfound = [t for t in gc.get_objects() if isinstance(t, torch.Tensor) and t.dtype == y_train.dtype\n"
        "         and t.shape == (len(dists),) and t is not y_train]\nreturn found[0] if found else y_train[:1]",
    ),
    "raises_what_is_no_exception": ("crash", "raise BaseException"),
    "fills_the_disk": ("error", "for i in range(1000):\n    open(f'/tmp/{i}', 'wb').write(bytes(2**24))"),
    "writes_a_large_file": ("error", "open('/tmp/large', 'wb').write(bytes(2**27))"),
    "writes_to_shared_memory": ("error", "for i in range(9):\n    open(f'/dev/shm/{i}', 'wb').write(bytes(2**24))"),
    "writes_to_the_system": ("error", "open('/usr/lib/evil', 'w')"),
    "writes_to_the_kit": ("error", "import dlcvkit\nopen(dlcvkit.__file__, 'a').write('evil')"),
    "writes_to_the_root": ("error", "open('/evil', 'w')"),
    "raises_its_limits": ("error", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    "limits_its_parent": ("error", "import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))"),
    "asks_for_a_new_namespace": ("error", "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0"),
    "shares_memory": ("error", "import ctypes\nassert ctypes.CDLL(None).shmget(1, 4096, 0o1666) != -1"),
    "traces_its_parent": ("error", "import ctypes\nassert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0"),
}  # fmt: skip

RIGHT = "return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values"
REFUSED = "\nexcept OSError:\n    pass\nelse:\n    raise AssertionError\n" + RIGHT
PROBES = {
    "sees_no_network": "import socket\ntry:\n    socket.create_connection(('1.1.1.1', 53), 2)" + REFUSED,
    "sees_no_local_server": "import socket\ntry:\n    socket.socket().connect(('127.0.0.1', 8888))" + REFUSED,
    "cannot_write_to_the_worker": "try:\n    open(f'/proc/{os.getppid()}/mem', 'r+b')" + REFUSED,
    "cannot_read_the_worker": "try:\n    open(f'/proc/{os.getppid()}/maps').read()" + REFUSED,
    "cannot_open_the_workers_files": "try:\n    os.open(f'/proc/{os.getppid()}/fd/1', os.O_RDWR)" + REFUSED,
    "sees_no_environment": f"assert set(os.environ) <= {{'HOME', 'PATH', 'LANG', 'PWD', 'LC_CTYPE', 'MPLBACKEND',\n"
    f"    'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'}} | {{n for n in os.environ\n"
    f"    if n.startswith(('TORCH', 'KMP', 'TQDM'))}}, list(os.environ)\n{RIGHT}",
    "sees_no_other_process": f"assert {{n for n in os.listdir('/proc') if n.isdigit()}} == {{'1', str(os.getpid())}}\n{RIGHT}",
    "has_three_pipes_only": "for fd in range(3, 200):\n    try:\n        os.fstat(fd)\n    except OSError:\n        continue\n"
    f"    assert fd == 4 or os.readlink(f'/proc/self/fd/{{fd}}') == f'/proc/{{os.getpid()}}/fd', fd\n{RIGHT}",
    "finds_no_file_of_the_course": "names = []\nfor here, folders, files in os.walk('/'):\n"
    "    folders[:] = [f for f in folders if here != '/' or f not in ('usr', 'site', 'proc', 'dev')]\n"
    "    folders[:] = [f for f in folders if 'python' not in f and 'pyenv' not in f]\n    names += files\n"
    "secret = {'course.toml', 'gradebook.db', 'nbgrader_config.py', 'judging.py', 'knn.py', 'batch.py', 'passwd', 'shadow'}\n"
    "assert 'worker.py' in names\nassert not secret & set(names), secret & set(names)\n"
    f"assert not any(n.endswith('.ipynb') for n in names)\n{RIGHT}",
    "finds_no_reference": "import importlib, pkgutil, dlcvkit.exercises\n"
    "assert not list(pkgutil.iter_modules(dlcvkit.exercises.__path__))\n"
    "try:\n    importlib.import_module('dlcvkit.exercises.a1.knn')\nexcept ImportError:\n    pass\n"
    f"else:\n    raise AssertionError\n{RIGHT}",
    "finds_no_grader": "import importlib\nfor name in ('dlcvgrade.course', 'dlcvgrade.judge.judging', 'dlcvgrade.cli'):\n"
    "    try:\n        importlib.import_module(name)\n    except ImportError:\n        continue\n"
    f"    raise AssertionError(name)\n{RIGHT}",
    "has_no_home": f"assert os.path.expanduser('~') == '/tmp/home' and not os.path.exists('/root/.ssh')\n{RIGHT}",
    "has_no_privileges": "status = open('/proc/self/status').read()\n"
    f"assert 'CapEff:\\t0000000000000000' in status and 'NoNewPrivs:\\t1' in status\n{RIGHT}",
}  # fmt: skip


HANG = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"


def assert_others_are_untouched(verdicts):
    assert [(verdicts[name].verdict, verdicts[name].points) for name in OTHERS] == [("pass", 4.0)] * 2


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_gains_nothing_and_costs_only_its_exercise(grade, name):
    verdict, body = ATTACKS[name]
    verdicts = grade(labels=labels(body), wall=3 if verdict == "timeout" else 20)
    assert_others_are_untouched(verdicts)
    attacked = verdicts["a1/predict_labels"]
    assert (attacked.verdict, attacked.points) == (verdict, 0.0), attacked.as_json()
    assert [v.verdict for v in grade().values()] == ["pass"] * 3, "the next submission suffers"


@pytest.mark.parametrize("name", PROBES)
def test_the_wall_holds(grade, name):
    verdict = grade(labels=labels(PROBES[name]))["a1/predict_labels"]
    assert verdict.verdict == "pass", verdict.as_json()


def test_a_probe_that_sees_something_fails(grade):
    assert grade(labels=labels(f"assert not os.path.exists('/usr')\n{RIGHT}"))["a1/predict_labels"].verdict == "error"


@pytest.mark.parametrize("cell", ["import os\nos._exit(0)", HANG, "print('x' * 10**8)"])
def test_attack_while_the_cells_run_costs_the_submission_and_not_the_next(grade, cell):
    assert {v.points for v in grade(cell, wall=2).values()} == {0.0}
    assert [v.verdict for v in grade().values()] == ["pass"] * 3


@pytest.mark.parametrize("folder", ["/tmp", "/tmp/home", "/dev/shm"])
def test_nothing_is_left_for_the_next_exercise(grade, folder):
    """An exercise that runs first leaves files; one that runs later is right only if it finds none."""
    leaves = f"""
def compute_distances_no_loops(x_train, x_test):
    os.makedirs("{folder}/deep/er", exist_ok=True)
    [open("{folder}/" + "deep/er/" + str(i), "w").close() for i in (1, 2, 3)]
    os.symlink("/usr", "{folder}/link")
    os.chmod("{folder}/deep/er", 0)
    return 0
"""
    finds = f"assert os.listdir('{folder}') in ([], ['home']), os.listdir('{folder}')\n{RIGHT}"
    verdicts = grade(distances=leaves, labels=labels(finds))
    assert verdicts["a1/knn_no_loops"].points == 0.0
    assert verdicts["a1/predict_labels"].verdict == "pass", verdicts["a1/predict_labels"].as_json()


def test_answers_cannot_be_kept_from_an_earlier_exercise(grade):
    setup = "import os, sys, builtins\nimport torch\nimport dlcvkit"
    keeps = (
        "def kfold_indices(n, folds):\n    builtins.kept = dlcvkit.kept = torch.kept = 1\n    os.environ['KEPT'] = '1'"
    )
    finds = (
        "assert not any(hasattr(m, 'kept') for m in (builtins, dlcvkit, torch)) and 'KEPT' not in os.environ\n" + RIGHT
    )
    verdicts = grade(setup=setup, folds=keeps, labels=labels(finds))
    assert verdicts["a1/predict_labels"].verdict == "pass", verdicts["a1/predict_labels"].as_json()


CARRIERS = {
    "names_an_exception": "raise type(secret, (Exception,), {})()",
    "names_a_builtin_exception_with_more": "raise type('ValueError' + secret, (ValueError,), {})()",
    "says_it_in_the_message": "raise ValueError(secret)",
    "forges_a_mutation": "send({'problem': {'kind': 'MUTATED', 'text': secret, 'hint': secret, 'diagnosis': secret}})",
    "forges_an_operation": "send({'problem': {'kind': 'FORBIDDEN', 'text': 'uses ' + secret, 'hint': secret}})",
    "forges_an_error": "send({'problem': {'kind': 'RAISED', 'text': secret + ' raised', 'diagnosis': secret}})",
    "forges_a_device": "send({'problem': {'kind': 'DEVICE', 'text': secret, 'first': secret}})",
    "forges_a_loop": "send({'problem': {'kind': 'LOOP', 'function': secret, 'line': 10**9}})",
    "forges_a_kind": "send({'problem': {'kind': secret, 'text': secret}})",
    "returns_it": "return secret",
    "returns_a_type": "return type(secret, (), {})()",
    "prints_it": "print(secret)\nsys.stderr.write(secret)\nos._exit(3)",
    "fails_with_it": "send({'failed': secret})",
}
SENDS = """
import json, struct
def send(head):
    head = json.dumps(head).encode()
    os.write(4, struct.pack('>II', len(head), 0) + head)
    os._exit(0)
secret = 'S3CRET' + str(dists.tolist()[0][0])
"""


@pytest.mark.parametrize("name", CARRIERS)
def test_a_result_carries_no_hidden_input_out(grade, name):
    attacked = grade(labels=labels(SENDS + CARRIERS[name]))["a1/predict_labels"]
    assert attacked.points == 0.0
    assert "S3CRET" not in repr(attacked.as_json()), attacked.as_json()


GETS_AROUND = {
    "patches_the_watch": "import dlcvkit.checking.watching as w\nw.ForbiddenOps.__enter__ = lambda self: self\n"
    "w.ForbiddenOps.__exit__ = lambda *a: None\n",
    "patches_by_setattr": "import dlcvkit.checking.observe as o\nimport contextlib\n"
    "setattr(o, 'ForbiddenOps', lambda names: type('W', (contextlib.nullcontext,), {'used': None})())\n",
    "switches_the_modes_off": "from torch._C import DisableTorchFunction\n",
    "replaces_it_by_an_alias": "import torch.utils._python_dispatch as d\nd.TorchDispatchMode.__enter__ = id\n",
    "hides_in_a_string": "",
    "takes_the_operation": "",
}
BREAKS = ("patches_by_setattr", "replaces_it_by_an_alias")
BY_NAME = "getattr(torch, 'cd' + 'ist')"


@pytest.mark.parametrize("name", GETS_AROUND)
def test_a_ready_made_operation_is_refused_even_where_the_watch_is_attacked(grade, name):
    operation = "torch.ops.aten._cdist_forward" if name == "takes_the_operation" else BY_NAME
    more = ", 2.0, None" if name == "takes_the_operation" else ""
    body = (
        f"{GETS_AROUND[name]}def compute_distances_no_loops(x_train, x_test):\n"
        f"    return {operation}(x_test.flatten(1), x_train.flatten(1){more}) ** 2\n"
    )
    attacked = grade(distances=body)["a1/knn_no_loops"]
    # One that breaks the watch altogether does not get as far as an answer.
    assert attacked.verdict == "forbidden_op" or (name in BREAKS and attacked.verdict == "crash"), attacked.as_json()
    assert attacked.points == 0.0


def test_the_submissions_time_is_limited_as_a_whole(grade):
    hangs = "def {}(*args):\n    while True:\n        pass"
    start = time.monotonic()
    verdicts = grade(folds=hangs.format("kfold_indices"), labels=hangs.format("predict_labels"), wall=20, budget=3)
    assert time.monotonic() - start < 10
    assert [(v.verdict, v.points) for v in verdicts.values()] == [("pass", 4.0), ("timeout", 0.0), ("timeout", 0.0)]


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def test_nothing_of_a_worker_is_left_when_it_is_stopped(exercises, tmp_path, monkeypatch):
    from dlcvgrade.judge.frames import pack
    from dlcvgrade.judge.limits import Limits

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(descendants(os.getpid()))
    with Worker(list(exercises.values())) as worker:
        request = {"cells": ["import time\ntime.sleep(100)"], "cell_seconds": 100, "functions": ["f"]}
        run = worker.run(pack(request), Limits(), wall_seconds=0.5)
        started = set(descendants(os.getpid())) - before
        assert run.is_timeout and started
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []
