"""How many places a sliding window has."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake

REFUSED = "a ValueError"


def _by_torch(size, kernel, options):
    settings = {"padding" if name == "pad" else name: value for name, value in options.items()}
    line, window = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    try:
        return functional.conv1d(line, window, **settings).shape[-1]
    except RuntimeError:
        return REFUSED


def _call(conv_output_size, size, kernel, options):
    try:
        return conv_output_size(size, kernel, **options)
    except ValueError:
        return REFUSED


def _formula(formula, *, refuse=True):
    """A wrong formula of (size, kernel, stride, pad, dilation); it refuses what torch does, unless told otherwise."""

    def variant(size, kernel, options):
        settings = {"stride": 1, "pad": 0, "dilation": 1, **options}
        if refuse and _by_torch(size, kernel, options) == REFUSED:
            return REFUSED
        return formula(size, kernel, settings["stride"], settings["pad"], settings["dilation"])

    return variant


conv_output_size = Function(
    functions=("conv_output_size",),
    reference=_by_torch,
    call=_call,
    cases=[
        Case("7 pixels, window of 3", size=7, kernel=3, options={}),
        Case("a stride that leaves pixels over", size=12, kernel=4, options={"stride": 3}),
        Case("a stride and padding", size=11, kernel=3, options={"stride": 2, "pad": 1}),
        Case("dilation", size=13, kernel=3, options={"dilation": 3, "pad": 2}),
        Case("a window that does not fit", size=4, kernel=3, options={"dilation": 2}),
    ],
    points={"places": 2},
    mistakes=[
        Mistake(
            "forgets the first place",
            _formula(lambda size, k, s, p, d: (size + 2 * p - d * (k - 1) - 1) // s),
            hint="a window that just fits has one place, and no step to go",
        ),
        Mistake(
            "pads one side only",
            _formula(lambda size, k, s, p, d: (size + p - d * (k - 1) - 1) // s + 1),
            hint="pad counts the pixels added on each side",
        ),
        Mistake(
            "rounds up",
            _formula(lambda size, k, s, p, d: -((d * (k - 1) + 1 - size - 2 * p) // s) + 1),
            hint="a last step that would carry the window over the edge is not taken",
        ),
        Mistake(
            "ignores the dilation",
            _formula(lambda size, k, s, p, d: (size + 2 * p - k) // s + 1),
            hint="a window with gaps is longer than it has entries",
        ),
        Mistake(
            "takes a dilated window to be dilation * kernel long",
            _formula(lambda size, k, s, p, d: (size + 2 * p - d * k) // s + 1),
            hint="draw a window of 3 entries with dilation 2: there are gaps between the entries, none after the last",
        ),
        Mistake(
            "adds 1 before it divides",
            _formula(lambda size, k, s, p, d: (size + 2 * p - d * (k - 1)) // s),
            hint="divide what is left to go by the step first; the place at the start comes on top",
        ),
        Mistake(
            "counts the dilation in the stride",
            _formula(lambda size, k, s, p, d: (size + 2 * p - k) // (s * d) + 1),
            hint="the stride moves the window, the dilation spreads its entries",
        ),
        Mistake(
            "returns a number of places for a window that does not fit",
            _formula(lambda size, k, s, p, d: (size + 2 * p - d * (k - 1) - 1) // s + 1, refuse=False),
            hint="a window that is longer than the padded image has no place: raise ValueError",
        ),
        Mistake(
            "looks at the number of entries to see whether the window fits",
            _formula(
                lambda size, k, s, p, d: REFUSED if k > size + 2 * p else (size + 2 * p - d * (k - 1) - 1) // s + 1,
                refuse=False,
            ),
            hint="it is the length of the window, gaps included, that has to fit",
        ),
    ],
)
