"""Average pooling, forward and backward."""

from __future__ import annotations

from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, normal
from dlcvkit.exercises.a3.pooling_and_upsampling.pooling import (
    max_of_windows,
    pooling,
    rounding_up,
    windows_of,
    with_pool_param,
)
from dlcvkit.exercises.a3.pooling_and_upsampling.variants import changed, ignoring_upstream, with_backward_of


def mean_of_windows(x, pool_param):
    """Average pooling by torch."""
    return functional.avg_pool2d(x, (pool_param["height"], pool_param["width"]), pool_param["stride"])


def _sum_of_windows(x, pool_param):
    return mean_of_windows(x, pool_param) * pool_param["height"] * pool_param["width"]


def _written_over(dx, given):
    """Backward by assignment: of several windows that hold a pixel, the last one's gradient stays."""
    height, width, stride = (given["pool_param"][key] for key in ("height", "width", "stride"))
    out, dout = dx * 0, given["dout"] / (height * width)
    for row in range(dout.shape[2]):
        for column in range(dout.shape[3]):
            top, left = row * stride, column * stride
            out[:, :, top : top + height, left : left + width] = dout[:, :, row, column, None, None]
    return out


def _to_the_first_pixel(x, pool_param):
    return windows_of(x, pool_param)[..., 0, 0]


def _by_the_stride(x, pool_param):
    return _sum_of_windows(x, pool_param) / pool_param["stride"] ** 2


avg_pool = ForwardBackward(
    functions=("avg_pool_forward", "avg_pool_backward"),
    reference=mean_of_windows,
    cases=[
        Case("2×3 windows, side by side", x=normal(2, 3, 6, 9), pool_param=pooling(2, 3, 3), dout=normal(2, 3, 2, 3)),
        Case(
            "overlapping, pixels left over", x=normal(2, 2, 8, 7), pool_param=pooling(3, 2, 2), dout=normal(2, 2, 3, 3)
        ),
        Case("one window", x=normal(3, 2, 4, 5), pool_param=pooling(4, 5, 1), dout=normal(3, 2, 1, 1)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "exchanges the height and the width of the window",
            changed(with_pool_param(mean_of_windows, height="width", width="height")),
            hint="height counts rows, axis 2 of x; width counts columns, axis 3",
        ),
        Mistake(
            "takes every window to be square, as wide as it is high",
            changed(with_pool_param(mean_of_windows, width="height")),
            hint="height and width of a window are settings of their own",
        ),
        Mistake(
            "moves on by the size of the window instead of the stride",
            changed(lambda x, pool_param: functional.avg_pool2d(x, (pool_param["height"], pool_param["width"]))),
            hint="two windows side by side start stride pixels apart, whatever their size",
        ),
        Mistake(
            "keeps windows that hang over the edge",
            changed(rounding_up(functional.avg_pool2d)),
            hint="a window has to fit in the image whole: round the number of positions down",
        ),
        Mistake(
            "adds up instead of averaging",
            _sum_of_windows,
            hint="how many pixels has a window?",
        ),
        Mistake(
            "divides by the square of the stride",
            _by_the_stride,
            hint="the mean is over the pixels of a window; where the next one starts does not matter to it",
        ),
        Mistake(
            "takes the largest pixel",
            max_of_windows,
            hint="that is max pooling; here all pixels of a window have the same say",
        ),
        Mistake(
            "gives every pixel of a window the whole gradient",
            with_backward_of(mean_of_windows, _sum_of_windows),
            hint="each pixel enters the mean with a factor: which?",
        ),
        Mistake(
            "keeps one gradient only where windows overlap",
            changed(mean_of_windows, dx=_written_over),
            hint="a pixel in several windows gets a share from each: look at = and +=",
        ),
        Mistake(
            "sends the gradient to the first pixel of a window",
            with_backward_of(mean_of_windows, _to_the_first_pixel),
            hint="all pixels of a window have the same influence on its mean",
        ),
        Mistake(
            "sends the gradient to the largest pixel of a window",
            with_backward_of(mean_of_windows, max_of_windows),
            hint="all pixels of a window have the same influence on its mean",
        ),
        Mistake(
            "ignores the upstream gradient",
            ignoring_upstream(mean_of_windows),
            hint="what comes after this layer says how much each output matters",
        ),
    ],
)
