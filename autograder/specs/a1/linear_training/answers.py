"""Weights handed in as a file."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from dlcvkit.answers import rows_with_bias, save_linear_answer
from dlcvkit.checking import Case, Hidden
from dlcvkit.data import channel_statistics, shapes
from dlcvkit.linear import softmax_loss

from .training import train


@cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="linear-answers-")


@cache
def _trained():
    """Return weights, mean and standard deviation for drawn shapes, good enough for all points."""
    images, y = shapes(4000, seed=0)
    mean, std = channel_statistics(images)
    X = rows_with_bias(images, mean, std)
    generator = torch.Generator().manual_seed(0)
    W, _ = train(softmax_loss, X, y, 3e-3, 1e-2, 500, 128, generator)
    return W, mean, std


class _File:
    """A path whose file is made when it is first asked for: training takes seconds, and most imports need no file."""

    def __init__(self, name, write):
        self._name, self._write = name, write

    def __str__(self):
        path = Path(_folder().name) / self._name
        if not path.exists():
            self._write(path)
        return str(path)


def _write_changed(**changes):
    def write(path):
        tensors = {"W": torch.zeros(3073, 10), "mean": torch.zeros(3), "std": torch.ones(3)}
        tensors["dataset"] = torch.tensor(list(b"shapes"), dtype=torch.uint8)
        tensors.update(changes)
        save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)

    return write


def _write_trained(change):
    return lambda path: save_linear_answer(path, *change(*_trained()), "shapes")


def _write_double(path):
    W, mean, std = (tensor.double() for tensor in _trained())
    save_file({"W": 7 * W, "mean": mean, "std": std, "dataset": torch.tensor(list(b"shapes"), dtype=torch.uint8)}, path)


linear_answer = Hidden(
    cases=[Case("images never seen", seed=20261121, count=1000)],
    mutants={
        "no file": "/nonexistent/linear_weights.safetensors",
        "not a safetensors file": _File("text", lambda path: path.write_bytes(b"W = 1")),
        "untrained": _File("untrained", _write_changed()),
        "without statistics": _File("bare", _write_changed(mean=None)),
        "transposed": _File("transposed", _write_changed(W=torch.zeros(10, 3073))),
        "without the bias": _File("short", _write_changed(W=torch.zeros(3072, 10))),
        "not a number": _File("nan", _write_changed(W=torch.full((3073, 10), torch.nan))),
        "no known dataset": _File(
            "dataset", _write_changed(dataset=torch.tensor(list(b"imagenet"), dtype=torch.uint8))
        ),
        "a name that is no text": _File("integers", _write_changed(dataset=torch.tensor([300, -1]))),
        "std of zero": _File("flat", _write_changed(std=torch.zeros(3))),
        "classes in another order": _File("rolled", _write_trained(lambda W, m, s: (W.roll(1, 1), m, s))),
    },
    solutions={
        "softmax on drawn shapes": _File("softmax", _write_trained(lambda W, m, s: (W, m, s))),
        "scaled, in float64": _File("double", _write_double),
    },
)
