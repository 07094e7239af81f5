"""Max pooling that says where its maxima were, and unpooling, which puts them back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, drawn, given, normal
from dlcvkit.exercises.a3.pooling_and_upsampling.pooling import (
    grid,
    last_switches_of,
    max_of_windows,
    pooling,
    rounding_up,
    switches_of,
    windows_of,
)


def _index_in_window(x, pool_param):
    windows = windows_of(x, pool_param).flatten(4)
    return max_of_windows(x, pool_param), windows.argmax(4)


def _with_switches(change):
    """The right maxima, with switches changed by ``change(switches, x, pool_param)``."""
    return lambda x, pool_param: (
        max_of_windows(x, pool_param),
        change(switches_of(x, pool_param), x, pool_param),
    )


def _columns_first(switches, x, pool_param):
    H, W = x.shape[2:]
    return switches % W * H + switches // W


def _with_channels(switches, x, pool_param):
    C, H, W = x.shape[1:]
    return switches + H * W * torch.arange(C, device=x.device)[:, None, None]


def _rows_by_output_width(switches, x, pool_param):
    W = x.shape[3]
    return switches // W * switches.shape[3] + switches % W


def _window_by_height(x, pool_param):
    place = windows_of(x, pool_param).flatten(4).argmax(4)
    height, stride = pool_param["height"], pool_param["stride"]
    top, left = (stride * torch.arange(n, device=x.device) for n in place.shape[2:])
    return max_of_windows(x, pool_param), (top[:, None] + place // height) * x.shape[3] + left + place % height


def _rows_by_height(switches, x, pool_param):
    H, W = x.shape[2:]
    return switches // W * H + switches % W


max_pool_switches = Function(
    functions=("max_pool_with_switches",),
    reference=lambda x, pool_param: functional.max_pool2d(
        x, (pool_param["height"], pool_param["width"]), pool_param["stride"], return_indices=True
    ),
    cases=[
        Case("2×3 windows, side by side", x=normal(2, 3, 6, 9), pool_param=pooling(2, 3, 3)),
        Case("overlapping, pixels left over", x=normal(2, 2, 8, 7), pool_param=pooling(3, 2, 2)),
        Case("ties", x=grid(1, 2, 5, 6, values=2), pool_param=pooling(2, 2, 1)),
    ],
    points={"out": 1, "switches": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "counts inside the window instead of inside the image",
            _index_in_window,
            hint="h and w of a switch are counted from the image's first pixel: add where the window starts",
        ),
        Mistake(
            "divides the place in the window by its height instead of its width",
            _window_by_height,
            hint="a row of the window has as many pixels as the window is wide",
        ),
        Mistake(
            "counts column by column",
            _with_switches(_columns_first),
            hint="a switch is h * W + w: pixels are counted row by row",
        ),
        Mistake(
            "multiplies the row by the height of the image",
            _with_switches(_rows_by_height),
            hint="how many pixels lie before row h? Each row has W of them",
        ),
        Mistake(
            "counts in rows as long as those of the output",
            _with_switches(_rows_by_output_width),
            hint="a switch is an index into the image that came in, whose rows have W pixels",
        ),
        Mistake(
            "counts on from one channel to the next",
            _with_switches(_with_channels),
            hint="each channel of each image has its pixels 0 to H * W - 1",
        ),
        Mistake(
            "takes the last of several equal maxima",
            _with_switches(lambda switches, x, pool_param: last_switches_of(x, pool_param)),
            hint="ties go to the first maximum, row by row: look at > and >=",
        ),
        Mistake(
            "returns row and column instead of one number",
            _with_switches(
                lambda switches, x, pool_param: torch.stack([switches // x.shape[3], switches % x.shape[3]])
            ),
            hint="one number per window: h * W + w",
        ),
        Mistake(
            "keeps windows that hang over the edge",
            lambda x, pool_param: (
                rounding_up(functional.max_pool2d)(x, pool_param),
                functional.max_pool2d(
                    x,
                    (pool_param["height"], pool_param["width"]),
                    pool_param["stride"],
                    ceil_mode=True,
                    return_indices=True,
                )[1],
            ),
            hint="a window has to fit in the image whole: round the number of positions down",
        ),
        Mistake(
            "finds the smallest pixel",
            lambda x, pool_param: (-max_of_windows(-x, pool_param), switches_of(-x, pool_param)),
            hint="max pooling looks for the largest pixel of each window",
        ),
    ],
)


def unpooling_case(name, *shape, pool, size=None, seed=0, of=None):
    """A case whose values and switches come from one pooled picture, so that they go together.

    Args:
        name: Name of the case.
        shape: Shape of the picture that is pooled.
        pool: Settings of the pooling.
        size: Height and width to unpool to; those of the picture if None.
        seed: Seed of the picture.
        of: Takes ``torch.Generator`` and shape and draws the picture; normal if None.
    """
    make = of or (lambda g, shape: torch.randn(shape, generator=g, dtype=torch.float64))
    picture = make(torch.Generator().manual_seed(seed), shape)
    values, switches = max_of_windows(picture, pool), switches_of(picture, pool)
    return Case(
        name,
        x=drawn(lambda g: values.clone()),
        switches=drawn(lambda g: switches.clone()),
        size=size or tuple(shape[2:]),
    )


def _placed(x: Tensor, switches: Tensor, size, *, adds: bool = False, fill: float = 0.0) -> Tensor:
    N, C = x.shape[:2]
    flat = x.new_full((N, C, size[0] * size[1]), fill)
    index, values = switches.flatten(2), x.flatten(2)
    return (flat.scatter_add(2, index, values) if adds else flat.scatter(2, index, values)).reshape(N, C, *size)


def _unpooled(x, switches, size):
    return torch.ops.aten.max_unpool2d(x, switches, list(size))


def _decoded(by):
    """Unpooling with a switch taken for ``h * by + w``, or, by -1, for ``w * H + h``."""

    def variant(x, switches, size):
        H, W = size
        unit = {"height": H, "column": H}[by]
        h, w = switches // unit, switches % unit
        if by == "column":
            h, w = w, h
        return _placed(x, h * W + w, size)

    return variant


def _in_order(x, switches, size):
    places = torch.arange(x.shape[2] * x.shape[3], device=x.device).reshape(x.shape[2:])
    return _placed(x, places.expand_as(switches), size)


def _all_in_one_plane(x, switches, size):
    out = x.new_zeros(len(x) * x.shape[1] * size[0] * size[1])
    return out.scatter(0, switches.flatten(), x.flatten()).reshape(*x.shape[:2], *size)


def _nearest(x, switches, size):
    return functional.interpolate(x, size=size)


max_unpool = Function(
    functions=("max_unpool",),
    reference=_unpooled,
    cases=[
        unpooling_case("2×2 windows, side by side", 2, 3, 4, 6, pool=pooling(2, 2, 2)),
        unpooling_case("overlapping, pixels left over", 2, 2, 8, 7, pool=pooling(3, 2, 2), seed=3),
        Case(
            "given switches",
            x=given([[[[1.5, -2.0]]]]),
            switches=given([[[[7, 3]]]], dtype=torch.int64),
            size=(3, 5),
        ),
    ],
    points={"out": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "adds up where two windows have the same switch",
            lambda x, switches, size: _placed(x, switches, size, adds=True),
            hint="two windows that share a switch hold the same pixel, and the picture had it once",
        ),
        Mistake(
            "takes a switch for h * H + w",
            _decoded("height"),
            hint="a switch is h * W + w, with W the width of the output",
        ),
        Mistake(
            "takes a switch for w * H + h",
            _decoded("column"),
            hint="a switch is h * W + w: pixels are counted row by row",
        ),
        Mistake(
            "puts all channels and images into the first one",
            _all_in_one_plane,
            hint="a switch counts inside its own channel: each of the N * C planes is filled for itself",
        ),
        Mistake(
            "ignores the switches and fills pixel after pixel",
            _in_order,
            hint="the switch of a value says where in the output it belongs",
        ),
        Mistake(
            "repeats every value over its window",
            _nearest,
            hint="one pixel per value, where its switch says; all others are 0",
        ),
        Mistake(
            "exchanges height and width of the output",
            lambda x, switches, size: _unpooled(x, switches, size[::-1]),
            hint="size is (H, W): the output has shape (N, C, H, W)",
        ),
        Mistake(
            "fills the other pixels with 1",
            lambda x, switches, size: _placed(x, switches, size, fill=1.0),
            hint="a pixel that no switch points to is 0",
        ),
        Mistake(
            "leaves the output flat",
            lambda x, switches, size: _unpooled(x, switches, size).flatten(2),
            hint="the output has shape (N, C, H, W)",
        ),
        Mistake(
            "keeps the positive values only",
            lambda x, switches, size: _unpooled(x.clamp(min=0), switches, size),
            hint="values are put back as they are, with their sign",
        ),
    ],
)
