"""Max pooling, forward and backward."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, drawn, given, normal
from dlcvkit.exercises.a3.pooling_and_upsampling.variants import changed, ignoring_upstream, with_backward_of


def windows_of(x, pool_param):
    """All windows as a view of shape (N, C, H', W', HH, WW)."""
    stride = pool_param["stride"]
    return x.unfold(2, pool_param["height"], stride).unfold(3, pool_param["width"], stride)


def switches_of(x, pool_param):
    """For every window the flat index of its first maximum in the image, int64 of shape (N, C, H', W')."""
    kernel = (pool_param["height"], pool_param["width"])
    return functional.max_pool2d(x.detach(), kernel, pool_param["stride"], return_indices=True)[1]


def last_switches_of(x, pool_param):
    """The same for the last maximum in row-major order."""
    turned = x.detach().flip(2, 3)
    H, W = x.shape[2:]
    kernel, stride = (pool_param["height"], pool_param["width"]), pool_param["stride"]
    rows, columns = ((size - k) % stride for size, k in zip((H, W), kernel, strict=True))
    cut = turned[:, :, rows:, columns:]
    index = functional.max_pool2d(cut, kernel, stride, return_indices=True)[1].flip(2, 3)
    row, column = index // cut.shape[3], index % cut.shape[3]
    return (cut.shape[2] - 1 - row) * W + cut.shape[3] - 1 - column


def max_of_windows(x, pool_param):
    """Max pooling by torch."""
    return functional.max_pool2d(x, (pool_param["height"], pool_param["width"]), pool_param["stride"])


def rounding_up(pool):
    """The pooling function with ``ceil_mode``: windows that hang over the edge count as well."""
    return lambda x, pool_param: pool(
        x, (pool_param["height"], pool_param["width"]), pool_param["stride"], ceil_mode=True
    )


def with_pool_param(layer, **names):
    """A layer that reads each entry of ``pool_param`` from another one, ``height="width"``."""
    return lambda x, pool_param: layer(
        x, {key: pool_param[names.get(key, key)] for key in ("height", "width", "stride")}
    )


def pooling(height, width, stride):
    """The settings of a pooling layer."""
    return {"height": height, "width": width, "stride": stride}


def _gathered(switches):
    """Pooling that takes the pixels at ``switches(x, pool_param)``; autograd sends their gradients back."""

    def layer(x, pool_param):
        index = switches(x, pool_param)
        return x.flatten(2).gather(2, index.flatten(2)).reshape(index.shape)

    return layer


def _to_every_maximum(x, pool_param):
    windows = windows_of(x, pool_param)
    is_largest = windows == windows.amax((4, 5), keepdim=True)
    return (windows * is_largest).sum((4, 5))


def _divided_among_maxima(x, pool_param):
    return windows_of(x, pool_param).amax((4, 5))  # what autograd does for amax


def _last_window_only(dx, given):
    """Backward by assignment: of several windows with the same maximum, the last one's gradient stays."""
    switches = switches_of(given["x"], given["pool_param"])
    places, gradients = switches.flatten(2).reshape(-1, switches[0, 0].numel()), given["dout"].reshape(-1)
    out = torch.zeros_like(dx).reshape(len(places), -1)
    for number, gradient in enumerate(gradients.tolist()):
        plane, window = divmod(number, places.shape[1])
        out[plane, places[plane, window]] = gradient
    return out.reshape(dx.shape)


def _windows_written_over(dx, given):
    """Backward by assignment to whole windows: a later window wipes out what an earlier one left."""
    x, dout, pool_param = given["x"], given["dout"], given["pool_param"]
    height, width, stride = (pool_param[key] for key in ("height", "width", "stride"))
    places = torch.arange(x.shape[2] * x.shape[3], device=x.device).reshape(x.shape[2:])
    switches, out = switches_of(x, pool_param), torch.zeros_like(dx)
    for row in range(dout.shape[2]):
        for column in range(dout.shape[3]):
            rows = slice(row * stride, row * stride + height)
            columns = slice(column * stride, column * stride + width)
            chosen = places[rows, columns] == switches[:, :, row, column, None, None]
            out[:, :, rows, columns] = chosen * dout[:, :, row, column, None, None]
    return out


def _to_the_whole_window(x, pool_param):
    return windows_of(x, pool_param).sum((4, 5))


def grid(*shape, values=3):
    """Whole numbers from 0 on, few of them, so that ties are frequent."""
    return drawn(lambda g: torch.randint(values, shape, generator=g).double())


max_pool = ForwardBackward(
    functions=("max_pool_forward", "max_pool_backward"),
    reference=max_of_windows,
    cases=[
        Case("2×3 windows, side by side", x=normal(2, 3, 6, 9), pool_param=pooling(2, 3, 3), dout=normal(2, 3, 2, 3)),
        Case(
            "overlapping, pixels left over", x=normal(2, 2, 8, 7), pool_param=pooling(3, 2, 2), dout=normal(2, 2, 3, 3)
        ),
        Case("ties", x=given([[[[0.0] * 5] * 4]]), pool_param=pooling(2, 2, 1), dout=normal(1, 1, 3, 4)),
        Case("negative pixels", x=normal(1, 2, 5, 6, mean=-9.0), pool_param=pooling(2, 2, 2), dout=normal(1, 2, 2, 3)),
    ],
    points={"out": 2, "dx": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "exchanges the height and the width of the window",
            changed(with_pool_param(max_of_windows, height="width", width="height")),
            hint="height counts rows, axis 2 of x; width counts columns, axis 3",
        ),
        Mistake(
            "takes every window to be square, as wide as it is high",
            changed(with_pool_param(max_of_windows, width="height")),
            hint="height and width of a window are settings of their own",
        ),
        Mistake(
            "moves on by the size of the window instead of the stride",
            changed(lambda x, pool_param: functional.max_pool2d(x, (pool_param["height"], pool_param["width"]))),
            hint="two windows side by side start stride pixels apart, whatever their size",
        ),
        Mistake(
            "keeps windows that hang over the edge",
            changed(rounding_up(functional.max_pool2d)),
            hint="a window has to fit in the image whole: round the number of positions down",
        ),
        Mistake(
            "compares with 0 as well",
            lambda x, pool_param: max_of_windows(x, pool_param).clamp(min=0),
            hint="the largest of negative pixels is negative: what does your maximum start from?",
        ),
        Mistake(
            "takes the largest absolute value",
            lambda x, pool_param: max_of_windows(x.abs(), pool_param),
            hint="the largest pixel wins, with its sign",
        ),
        Mistake(
            "averages",
            lambda x, pool_param: windows_of(x, pool_param).mean((4, 5)),
            hint="the largest pixel of a window is the output; the mean comes next in this notebook",
        ),
        Mistake(
            "sends the gradient to the last of several equal maxima",
            _gathered(last_switches_of),
            hint="ties go to the first maximum, row by row: look at > and >=",
        ),
        Mistake(
            "sends the whole gradient to each of several equal maxima",
            with_backward_of(max_of_windows, _to_every_maximum),
            hint="one pixel of a window gets the gradient, even if others are as large",
        ),
        Mistake(
            "divides the gradient among equal maxima",
            _divided_among_maxima,
            hint="one pixel of a window gets the gradient, even if others are as large",
        ),
        Mistake(
            "keeps one gradient only where a pixel is the maximum of several windows",
            changed(max_of_windows, dx=_last_window_only),
            hint="a pixel that several windows chose gets the sum of their gradients; a[index] += v counts an index "
            "that occurs twice only once",
        ),
        Mistake(
            "wipes out what overlapping windows have left",
            changed(max_of_windows, dx=_windows_written_over),
            hint="a pixel that several windows chose gets the sum of their gradients: look at = and +=",
        ),
        Mistake(
            "sends the gradient to all pixels of a window",
            with_backward_of(max_of_windows, _to_the_whole_window),
            hint="a pixel that is not the maximum has no influence on the output",
        ),
        Mistake(
            "ignores the upstream gradient",
            ignoring_upstream(max_of_windows),
            hint="what comes after this layer says how much each output matters",
        ),
        Mistake(
            "multiplies the gradient by the pixel",
            changed(max_of_windows, dx=lambda dx, given: dx * given["x"]),
            hint="the output is the pixel itself: its slope is 1",
        ),
    ],
)
