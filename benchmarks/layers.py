"""How long the layers of the solved notebooks take, beside loops and beside torch.

    python benchmarks/layers.py [--quick]

Prints a row for the forward and for the backward pass of every layer that is there, in milliseconds, on the CPU and on
a GPU if there is one: the solution, the version with loops where the notebook asks for one, and torch. Every number is
the median of repeats in which the versions take turns. Loops are given one image, and their time is multiplied by the
number of images. ``--quick`` uses small batches and few repeats: it shows that everything runs, not how fast.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from dlcvgrade.mutants.subjects import SolvedNotebook

ROOT = Path(__file__).parents[1]
MOST_TIMES_TORCH = 8
LEAST_TIMES_LOOPS = 100


@dataclass(frozen=True)
class Layer:
    """A layer of the course.

    Attributes:
        name: What it is called in the table.
        notebook: Where its solution stands, such as ``a3/convolution``.
        functions: Names of its forward and its backward function; one name if a single function does both.
        arguments: Makes the arguments of forward for a number of images, their side in pixels, and a device.
        torch: torch's version; called with the same arguments, returns the output.
        loops: Names of the versions with loops, if there are any.
    """

    name: str
    notebook: str
    functions: tuple[str, ...]
    arguments: Callable[[int, int, str], tuple[Any, ...]]
    torch: Callable[..., torch.Tensor]
    loops: tuple[str, ...] = ()


def _pair(stem: str) -> tuple[str, str]:
    return f"{stem}_forward", f"{stem}_backward"


def _tensors(
    *shapes: Callable[[int, int], tuple[int, ...]], more: tuple[Any, ...] = ()
) -> Callable[..., tuple[Any, ...]]:
    """Make a function that draws tensors, given the number of images and their side; ``more`` is handed on as it is."""

    def draw(n: int, side: int, device: str) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        return (*(torch.randn(shape(n, side), generator=generator).to(device) for shape in shapes), *more)

    return draw


def _scores(n: int, side: int, device: str) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 10, generator=generator).to(device), (torch.arange(n) % 10).to(device)


def _batchnorm(draw_three: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    def draw(n: int, side: int, device: str) -> tuple[Any, ...]:
        x, scale, shift = draw_three(n, side, device)
        return x, scale, shift, torch.zeros_like(shift), torch.ones_like(shift), True

    return draw


def _images(n: int, side: int) -> tuple[int, ...]:
    return n, 16, side, side


def _channels(n: int, side: int) -> tuple[int, ...]:
    return (16,)


_CONV = _tensors(_images, lambda n, side: (32, 16, 3, 3), lambda n, side: (32,), more=({"pad": 1},))
_DEPTH = _tensors(
    _images, lambda n, side: (16, 3, 3), lambda n, side: (32, 16), lambda n, side: (32,), more=({"pad": 1},)
)
_UP = _tensors(
    _images, lambda n, side: (16, 8, 4, 4), lambda n, side: (8,), more=({"stride": 2, "pad": 1, "output_pad": 0},)
)
_POOL = _tensors(_images, more=({"height": 2, "width": 2, "stride": 2},))

LAYERS = [
    Layer(
        "affine 3072→100",
        "a2/two_layer_net",
        _pair("affine"),
        _tensors(lambda n, side: (n, 3, 32, 32), lambda n, side: (3072, 100), lambda n, side: (100,)),
        lambda x, w, b: functional.linear(x.flatten(1), w.T, b),
    ),
    Layer("ReLU", "a2/two_layer_net", _pair("relu"), _tensors(_images), functional.relu),
    Layer("softmax loss", "a2/two_layer_net", ("softmax_loss",), _scores, functional.cross_entropy),
    Layer(
        "batch norm",
        "a3/normalization",
        _pair("batchnorm"),
        _batchnorm(_tensors(lambda n, side: (n, 400), lambda n, side: (400,), lambda n, side: (400,))),
        lambda x, g, b, mean, var, _: functional.batch_norm(x, None, None, g, b, training=True),
    ),
    Layer(
        "spatial batch norm",
        "a3/normalization",
        _pair("spatial_batchnorm"),
        _batchnorm(_tensors(_images, _channels, _channels)),
        lambda x, g, b, mean, var, _: functional.batch_norm(x, None, None, g, b, training=True),
    ),
    Layer(
        "layer norm",
        "a3/normalization",
        _pair("layernorm"),
        _tensors(lambda n, side: (n, 400), lambda n, side: (400,), lambda n, side: (400,)),
        lambda x, g, b: functional.layer_norm(x, (400,), g, b),
    ),
    Layer(
        "group norm",
        "a3/normalization",
        _pair("spatial_groupnorm"),
        _tensors(_images, _channels, _channels, more=(4,)),
        lambda x, g, b, groups: functional.group_norm(x, groups, g, b),
    ),
    Layer(
        "conv 3×3, 16→32",
        "a3/convolution",
        ("conv_forward_im2col", "conv_backward_im2col"),
        _CONV,
        lambda x, w, b, settings: functional.conv2d(x, w, b, padding=1),
        loops=("conv_forward_naive", "conv_backward_naive"),
    ),
    Layer(
        "depthwise separable",
        "a3/convolution",
        _pair("depthwise_separable"),
        _DEPTH,
        lambda x, depth, point, b, settings: functional.conv2d(
            functional.conv2d(x, depth[:, None], padding=1, groups=16), point[:, :, None, None], b
        ),
    ),
    Layer(
        "max pooling 2×2",
        "a3/pooling_and_upsampling",
        _pair("max_pool"),
        _POOL,
        lambda x, settings: functional.max_pool2d(x, 2),
    ),
    Layer(
        "average pooling 2×2",
        "a3/pooling_and_upsampling",
        _pair("avg_pool"),
        _POOL,
        lambda x, settings: functional.avg_pool2d(x, 2),
    ),
    Layer(
        "transposed conv 4×4",
        "a3/pooling_and_upsampling",
        _pair("conv_transpose"),
        _UP,
        lambda x, w, b, settings: functional.conv_transpose2d(x, w, b, stride=2, padding=1),
    ),
]


@dataclass(frozen=True)
class Row:
    """One line of the table; times in milliseconds, None where there is no version with loops."""

    name: str
    passes: str
    solution: float
    loops: float | None
    torch: float


def read_functions(layer: Layer, root: Path = ROOT) -> dict[str, Any] | str:
    """Return the names that a layer's notebook defines, or what is not there."""
    source = root / "solutions" / f"{layer.notebook}.py"
    if not source.is_file():
        return f"{source.relative_to(root)} does not exist"
    names = SolvedNotebook.read(source.read_text(encoding="utf-8"), source.name).namespace()
    lacking = [name for name in (*layer.functions, *layer.loops) if name not in names]
    return f"{layer.notebook} defines no {', '.join(lacking)}" if lacking else names


def milliseconds(task: Callable[[], Any], device: str) -> float:
    """Return how long a task takes, until the device has finished."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    task()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def by_turns(tasks: dict[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
    """Return the median time of each task; in every round each has one turn, loops in the first three rounds only."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in (task for name, task in tasks.items() if name != "loops"):
        task()  # the first call compiles and allocates
    for turn in range(repeats):
        for name, task in tasks.items():
            if name != "loops" or turn < 3:
                times[name].append(milliseconds(task, device))
    return {name: median(values) for name, values in times.items()}


def _tracked(arguments: tuple[Any, ...]) -> tuple[list[Any], list[torch.Tensor]]:
    copies = [
        each.detach().clone().requires_grad_() if isinstance(each, torch.Tensor) and each.is_floating_point() else each
        for each in arguments
    ]
    return copies, [each for each in copies if isinstance(each, torch.Tensor) and each.requires_grad]


def measure(layer: Layer, names: dict[str, Any], n: int, side: int, repeats: int, device: str) -> list[Row]:
    """Time one layer.

    Args:
        layer: What to time.
        names: The names of its notebook.
        n: Number of images.
        side: Their height and width in pixels.
        repeats: Number of rounds.
        device: ``cpu`` or ``cuda``.

    Returns:
        A row for each pass.

    Raises:
        RuntimeError: If the solution and torch do not agree.
    """
    arguments = layer.arguments(n, side, device)
    functions = [names[name] for name in layer.functions]
    loops = [names[name] for name in layer.loops]
    copies, variables = _tracked(arguments)
    head = layer.torch(*copies)
    is_used = [
        each is not None for each in torch.autograd.grad(head.sum(), variables, retain_graph=True, allow_unused=True)
    ]
    variables = [each for each, used in zip(variables, is_used, strict=True) if used]
    result = functions[0](*arguments)
    if not torch.allclose(result[0], head.detach(), rtol=1e-3, atol=1e-3):
        raise RuntimeError(f"{layer.name}: the solution and torch differ")

    if len(functions) == 1:
        tasks = {
            "solution": lambda: functions[0](*arguments),
            "torch": lambda: torch.autograd.grad(layer.torch(*copies), variables),
        }
        times = by_turns(tasks, repeats, device)
        return [Row(layer.name, "both", times["solution"], None, times["torch"])]

    one = layer.arguments(1, side, device)
    dout = torch.randn(head.shape, generator=torch.Generator().manual_seed(1)).to(device)
    tasks = {"solution": lambda: functions[0](*arguments), "torch": lambda: layer.torch(*arguments)}
    back = {
        "solution": lambda: functions[1](dout, result[-1]),
        "torch": lambda: torch.autograd.grad(head, variables, dout, retain_graph=True),
    }
    if loops and device == "cpu":
        tasks["loops"] = lambda: loops[0](*one)
        cache = loops[0](*one)[-1]
        back["loops"] = lambda: loops[1](dout[:1], cache)
    rows = []
    for passes, versions in (("forward", tasks), ("backward", back)):
        with torch.no_grad() if passes == "forward" else torch.enable_grad():
            times = by_turns(versions, repeats, device)
        slow = n * times["loops"] if "loops" in times else None
        rows.append(Row(layer.name, passes, times["solution"], slow, times["torch"]))
    return rows


def show(row: Row) -> str:
    """Return a row of the table."""
    ratio = row.solution / row.torch
    line = f"{row.name:22} {row.passes:8} {row.solution:9.3f} ms {row.torch:9.3f} ms {ratio:6.1f} x"
    return line if row.loops is None else f"{line} {row.loops:10.1f} ms {row.loops / row.solution:8.0f} x"


def missed(rows: list[Row]) -> list[str]:
    """Return one line for each target that the fast convolution misses."""
    lines = []
    for row in rows:
        if row.name.startswith("conv ") and row.passes == "forward" and row.loops is not None:
            if row.loops < LEAST_TIMES_LOOPS * row.solution:
                lines.append(
                    f"MISSED: {row.loops / row.solution:.0f} times as fast as the loops, not {LEAST_TIMES_LOOPS}"
                )
            if row.solution > MOST_TIMES_TORCH * row.torch:
                lines.append(f"MISSED: {row.solution / row.torch:.1f} times the time of torch, not {MOST_TIMES_TORCH}")
    return lines


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if a target is missed, which ``--quick`` does not ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches, few repeats, no targets")
    is_quick = parser.parse_args(arguments).quick
    n, side, repeats = (2, 6, 2) if is_quick else (32, 32, 15)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    complaints: list[str] = []
    for device in devices:
        threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
        print(f"{device}{threads}: {n} images of {side}×{side}, float32, median of {repeats}")
        print(f"{'layer':22} {'pass':8} {'solution':>12} {'torch':>12} {'ratio':>8} {'loops':>13} {'ratio':>10}")
        for layer in LAYERS:
            names = read_functions(layer)
            if isinstance(names, str):
                print(f"{layer.name:22} skipped: {names}")
                continue
            rows = measure(layer, names, n, side, repeats, device)
            for row in rows:
                print(show(row))
            complaints += [] if is_quick else missed(rows)
    for line in complaints:
        print(line)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
