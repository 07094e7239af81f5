"""How many pixels an output depends on."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake


def _call(receptive_field, layers):
    return receptive_field([tuple(layer) for layer in layers])


def _by_gradient(layers):
    """Send a gradient back from two neighbouring outputs and see which pixels it reaches."""
    length = 2
    for kernel, stride, dilation in reversed(layers):
        length = (length - 1) * stride + dilation * (kernel - 1) + 1
    line = torch.zeros(1, 1, length, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        signal = line
        for kernel, stride, dilation in layers:
            window = torch.ones(1, 1, kernel, dtype=torch.float64) / kernel
            signal = functional.conv1d(signal, window, stride=stride, dilation=dilation)
        reached = [torch.autograd.grad(signal[0, 0, at], line, retain_graph=True)[0].flatten() for at in (0, 1)]
    first, second = (pixels.nonzero().flatten().tolist() for pixels in reached)
    return first[-1] - first[0] + 1, second[0] - first[0]


def _walking(grow, widen=lambda jump, k, s, d: jump * s, start=(1, 1), order=lambda layers: layers):
    """Walk through the layers; ``grow`` gives the new size, ``widen`` the new jump."""

    def variant(layers):
        size, jump = start
        for kernel, stride, dilation in order(layers):
            size, jump = grow(size, jump, kernel, stride, dilation), widen(jump, kernel, stride, dilation)
        return size, jump

    return variant


def _right(size, jump, k, s, d):
    return size + (k - 1) * d * jump


receptive_field = Function(
    functions=("receptive_field",),
    reference=_by_gradient,
    call=_call,
    cases=[
        Case("two 3×3, one with stride 2", layers=[(3, 2, 1), (3, 1, 1)]),
        Case("dilations 1 and 3", layers=[(3, 1, 1), (5, 1, 3)]),
        Case("pooling between convolutions", layers=[(5, 1, 1), (2, 2, 1), (3, 1, 2), (3, 3, 1), (3, 1, 1)]),
        Case("one layer", layers=[(4, 3, 2)]),
    ],
    points={"size": 2, "jump": 1},
    mistakes=[
        Mistake(
            "adds k where k - 1 is added",
            _walking(lambda size, jump, k, s, d: size + k * d * jump),
            hint="a window of k entries reaches k - 1 steps beyond its first one",
        ),
        Mistake(
            "starts from a field of 0",
            _walking(_right, start=(0, 1)),
            hint="before the first layer a pixel sees itself",
        ),
        Mistake(
            "leaves the jump out",
            _walking(lambda size, jump, k, s, d: size + (k - 1) * d),
            hint="one step of a later window is several pixels of the image: those that the strides before it skip",
        ),
        Mistake(
            "counts a layer's own stride for its own window",
            _walking(lambda size, jump, k, s, d: size + (k - 1) * d * jump * s),
            hint="a layer's window lies in the layer's input, which its own stride has not thinned out yet",
        ),
        Mistake(
            "ignores the dilation",
            _walking(lambda size, jump, k, s, d: size + (k - 1) * jump),
            hint="neighbouring entries of a dilated window lie d steps apart",
        ),
        Mistake(
            "takes a dilated window to be d * k long",
            _walking(lambda size, jump, k, s, d: size + (d * k - 1) * jump),
            hint="there are gaps between the entries, none after the last",
        ),
        Mistake(
            "adds the strides up",
            _walking(_right, widen=lambda jump, k, s, d: jump + s),
            hint="a step of 2 in what was thinned out by 2 is a step of 4",
        ),
        Mistake(
            "takes dilation for a stride",
            _walking(_right, widen=lambda jump, k, s, d: jump * s * d),
            hint="dilation spreads the entries of a window; neighbouring outputs stay as close as they were",
        ),
        Mistake(
            "goes through the layers from the last to the first",
            _walking(_right, order=lambda layers: layers[::-1]),
            hint="layers are given from the image on; with this formula, walk in the same direction",
        ),
        Mistake(
            "multiplies the windows",
            _walking(lambda size, jump, k, s, d: size * k),
            hint="a second 3×3 adds a border of one pixel to what the first sees",
        ),
        Mistake(
            "ignores the strides in the jump",
            _walking(_right, widen=lambda jump, k, s, d: jump),
            hint="each stride spreads all outputs after it",
        ),
    ],
)
