"""Which output padding leads back to the size of a convolution's input."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Mistake


def _found_by_trying(size, kernel, stride, pad):
    """The output padding with which torch gets back to ``size``, found by trying them all."""
    w = torch.zeros(1, 1, kernel)
    small = functional.conv1d(torch.zeros(1, 1, size), w, stride=stride, padding=pad)
    for extra in range(stride):
        if functional.conv_transpose1d(small, w, None, stride, pad, extra).shape[2] == size:
            return extra
    raise ValueError("no output padding leads back")


def size_case(name, size, kernel, stride, pad):
    """A case of ``find_output_pad``."""
    return Case(name, size=size, kernel=kernel, stride=stride, pad=pad)


output_pad = Function(
    functions=("find_output_pad",),
    reference=_found_by_trying,
    cases=[
        size_case("22 pixels, kernel 3, stride 13, pad 1", 22, 3, 13, 1),
        size_case("4 pixels, kernel 3, stride 2, pad 1", 4, 3, 2, 1),
        size_case("5 pixels, kernel 3, stride 2, pad 1", 5, 3, 2, 1),
        size_case("19 pixels, kernel 4, stride 5, pad 1", 19, 4, 5, 1),
    ],
    points={"output_pad": 2},
    forbidden=TORCH_LAYERS,
    mistakes=[
        Mistake(
            "leaves the padding out",
            lambda size, kernel, stride, pad: (size - kernel) % stride,
            hint="the window slides over size + 2 * pad pixels",
        ),
        Mistake(
            "counts the padding on one side only",
            lambda size, kernel, stride, pad: (size + pad - kernel) % stride,
            hint="pad pixels are added on each side",
        ),
        Mistake(
            "leaves the kernel out",
            lambda size, kernel, stride, pad: (size + 2 * pad) % stride,
            hint="a window that starts stride * h below the top ends kernel pixels further down",
        ),
        Mistake(
            "gives the number of steps instead of what is left over",
            lambda size, kernel, stride, pad: (size + 2 * pad - kernel) // stride,
            hint="how many pixels lie behind the last window?",
        ),
        Mistake(
            "gives what is missing up to one more window, not what is left over",
            lambda size, kernel, stride, pad: -(size + 2 * pad - kernel) % stride,
            hint="how many pixels lie behind the last window?",
        ),
        Mistake(
            "takes the size that comes back to be stride times the smaller one",
            lambda size, kernel, stride, pad: size - stride * ((size + 2 * pad - kernel) // stride + 1),
            hint="without output padding, n pixels become stride * (n - 1) + kernel - 2 * pad",
        ),
        Mistake(
            "always takes the largest one, stride - 1",
            lambda size, kernel, stride, pad: stride - 1,
            hint="it depends on the size: several sizes lead to the same output of the convolution",
        ),
        Mistake(
            "always gives 0",
            lambda size, kernel, stride, pad: 0,
            hint="4 pixels become 2 with kernel 3, stride 2, pad 1; without output padding 2 become 3",
        ),
        Mistake(
            "takes the remainder of size by stride",
            lambda size, kernel, stride, pad: size % stride,
            hint="kernel and padding decide as well how many pixels lie behind the last window",
        ),
    ],
)
