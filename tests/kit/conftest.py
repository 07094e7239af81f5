"""Small notebooks for the commands: two layers of stage a2 and what students do to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dlcvkit.cli import main

AFFINE = """\
def affine_forward(x, w, b):
    return x.flatten(1) @ w + b, (x, w)
"""
AFFINE_BACKWARD = """\
def affine_backward(dout, cache):
    x, w = cache
    return (dout @ w.T).reshape(x.shape), x.flatten(1).T @ dout, dout.sum(0)
"""
RELU = """\
def relu_forward(x):
    return x.clamp(min=0), x


def relu_backward(dout, x):
    return dout * (x > 0)
"""


@pytest.fixture
def correct() -> list[str]:
    """Code cells that earn all points of a2/affine and a2/relu."""
    return ["import torch\nfrom dlcvkit import check", AFFINE, AFFINE_BACKWARD, RELU]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write code cells, as texts or as whole cells, to a notebook file in ``tmp_path``."""

    def write(cells: Sequence[Any], name: str = "two_layer_net.ipynb") -> Path:
        raw = [
            cell
            if isinstance(cell, dict)
            else {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": number}
            for number, cell in enumerate(cells, 1)
        ]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"cells": raw, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return path

    return write


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run ``dlcvkit`` in ``tmp_path`` with a memory of its own; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLCVKIT_STATE", str(tmp_path / "state"))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        printed = capfd.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return run
