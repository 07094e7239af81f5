"""The benchmark of layers runs, skips what is not there, and can report a miss."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "layers.py"


@pytest.fixture(scope="module")
def layers():
    spec = importlib.util.spec_from_file_location("benchmark_of_layers", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_it_runs_and_times_every_layer_that_is_there(layers, capsys):
    assert layers.main(["--quick"]) == 0
    printed = capsys.readouterr().out
    for layer in layers.LAYERS:
        assert layer.name in printed
    is_there = layers.ROOT.joinpath("solutions/a3/convolution.py").is_file()
    assert is_there
    assert [line.split("forward")[0].strip() for line in printed.splitlines() if " forward " in line][:2] == [
        "affine 3072→100",
        "ReLU",
    ]
    assert any(line.startswith("conv 3×3") and line.rstrip().endswith(" x") for line in printed.splitlines())


def test_a_notebook_that_is_not_there_is_told(layers, tmp_path):
    absent = layers.read_functions(layers.LAYERS[0], tmp_path)
    assert absent == "solutions/a2/two_layer_net.py does not exist"


def test_a_function_that_is_not_there_is_told(layers, tmp_path):
    source = tmp_path / "solutions/a2/two_layer_net.py"
    source.parent.mkdir(parents=True)
    source.write_text("# %%\ndef affine_forward(x, w, b):\n    return x\n")
    assert layers.read_functions(layers.LAYERS[0], tmp_path) == "a2/two_layer_net defines no affine_backward"


def test_a_layer_that_is_wrong_is_not_timed(layers):
    (relu,) = [layer for layer in layers.LAYERS if layer.name == "ReLU"]
    names = {"relu_forward": lambda x: (x, x), "relu_backward": lambda dout, x: dout}
    with pytest.raises(RuntimeError, match="ReLU: the solution and torch differ"):
        layers.measure(relu, names, 2, 6, 1, "cpu")


def test_a_missed_target_is_told(layers):
    met = layers.Row("conv 3×3, 16→32", "forward", solution=1.0, loops=1000.0, torch=0.5)
    slow = layers.Row("conv 3×3, 16→32", "forward", solution=20.0, loops=1000.0, torch=0.5)
    assert layers.missed([met]) == []
    assert [line.split(":")[0] for line in layers.missed([slow])] == ["MISSED", "MISSED"]
