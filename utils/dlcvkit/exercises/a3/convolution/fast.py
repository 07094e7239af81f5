"""Convolution as a matrix product."""

from __future__ import annotations

from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, Speed, normal
from dlcvkit.checking.forward_backward import run_pair
from dlcvkit.exercises.a3.convolution.faults import (
    GRADIENT_MISTAKES,
    OUTPUT_MISTAKES,
    PUBLIC_CASES,
    changed,
    conv,
    with_few_calls,
)

_CALLS_PER_ENTRY = 60
_MORE_CALLS = 400


def _use(conv_forward_im2col, conv_backward_im2col, x, w, b, conv_param, dout):
    """Call forward and backward; a finding if torch is called too often."""
    functions, names = (conv_forward_im2col, conv_backward_im2col), ("conv_forward_im2col", "conv_backward_im2col")
    entries, places = w[0, 0].numel(), dout[0, 0].numel()
    limit = _CALLS_PER_ENTRY * entries + _MORE_CALLS

    def task():
        return run_pair(functions, names, [x, w, b, conv_param], [dout], ["out"], ["dx", "dw", "db"])

    return with_few_calls(f"a loop in {names[0]} or {names[1]}", limit, places, task)


def _window_by_window(x, w, b, conv_param, dout):
    """A loop over the places, to be faster than."""
    stride, pad = conv_param.get("stride", 1), conv_param.get("pad", 0)
    wide = functional.pad(x, (pad, pad, pad, pad))
    flat = w.flatten(1).T
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            window = wide[:, :, i * stride :, j * stride :][:, :, : w.shape[2], : w.shape[3]]
            window.flatten(1) @ flat + b


def _places_first(x, w, b, conv_param):
    out = conv(x, w, b, conv_param)
    return out.movedim(1, 3).reshape(out.shape)


def _images_as_channels(x, w, b, conv_param):
    out = conv(x, w, b, conv_param)
    return out.transpose(0, 1).reshape(out.shape)


def _kernel_by_columns(x, w, b, conv_param):
    return conv(x, w.transpose(2, 3).reshape(w.shape), b, conv_param)


def _kernel_channels_last(x, w, b, conv_param):
    return conv(x, w.movedim(1, 3).reshape(w.shape), b, conv_param)


conv_im2col = ForwardBackward(
    functions=("conv_forward_im2col", "conv_backward_im2col"),
    call=_use,
    reference=conv,
    cases=[
        *PUBLIC_CASES,
        Case(
            "many places",
            x=normal(2, 2, 26, 28),
            w=normal(3, 2, 2, 3),
            b=normal(3),
            conv_param={},
            dout=normal(2, 3, 25, 26),
        ),
    ],
    points={"out": 2, "dx": 2, "dw": 1, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    speed=Speed(
        loop=_window_by_window,
        factor=3,
        case=Case(
            x=normal(2, 3, 26, 28),
            w=normal(4, 3, 3, 3),
            b=normal(4),
            conv_param={"pad": 1},
            dout=normal(2, 4, 26, 28),
        ),
    ),
    mistakes=[
        *OUTPUT_MISTAKES,
        Mistake(
            "has the filters as the last axis before it is reshaped",
            _places_first,
            hint="reshape only cuts anew, it moves nothing: the axes must be in the order N, F, places before",
        ),
        Mistake(
            "has the images in the axis of the filters before it is reshaped",
            _images_as_channels,
            hint="reshape only cuts anew, it moves nothing: the axes must be in the order N, F, places before",
        ),
        Mistake(
            "flattens the kernel column by column",
            _kernel_by_columns,
            hint="the entries of a filter must stand in the order of the rows of cols: c, then p, then q",
        ),
        Mistake(
            "flattens the kernel with the channels last",
            _kernel_channels_last,
            hint="the entries of a filter must stand in the order of the rows of cols: c, then p, then q",
        ),
        *GRADIENT_MISTAKES,
        Mistake(
            "multiplies dout with the filters of another group",
            changed(conv, dx=lambda dx, given: dx.roll(given["w"].shape[1], 1)),
            hint="a group's filters send their gradient back to the channels of their own group",
        ),
    ],
)
