"""Bilinear upsampling."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, given, normal


def resized(x, size):
    """Bilinear interpolation by torch, pixels as little squares."""
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def sampled(x, rows, columns, *, outside="border", nearest=False):
    """Sample pictures at real-valued rows and columns.

    Args:
        x: Shape (N, C, H, W).
        rows: Shape (H',), 0 is the centre of the first row.
        columns: Shape (W',).
        outside: What lies beyond the centres at the edge: ``border``, ``zeros``, ``wrap`` or ``line`` (extrapolated).
        nearest: Whether the nearest pixel is taken.
    """
    return _along(_along(x.mT, rows, outside, nearest).mT, columns, outside, nearest)


def _along(x, places, outside, nearest):
    length = x.shape[-1]
    places = places.to(x)
    if outside == "border":
        places = places.clamp(0, length - 1)
    if nearest:
        return x[..., places.round().long().clamp(0, length - 1)]
    low = places.floor().long()
    if outside == "line":
        low = low.clamp(0, max(length - 2, 0))
    share = places - low
    high = low + 1
    weights = [1 - share, share]
    if outside == "zeros":
        weights = [v * ((i >= 0) & (i < length)) for v, i in zip(weights, (low, high), strict=True)]
    low = low % length if outside == "wrap" else low.clamp(0, length - 1)
    high = high.clamp(0, length - 1)
    return x[..., low] * weights[0] + x[..., high] * weights[1]


def places_of(length, new_length):
    """Where the centres of the new pixels lie, in old pixels."""
    return (torch.arange(new_length, dtype=torch.float64) + 0.5) * (length / new_length) - 0.5


def _with_places(places, **options):
    """Interpolation with another rule for the places, ``places(length, new_length)``."""
    return lambda x, size: sampled(
        x, *(places(n, m).to(x.device) for n, m in zip(x.shape[2:], size, strict=True)), **options
    )


def _corners(length, new_length):
    return torch.linspace(0, length - 1, new_length, dtype=torch.float64)


def _whole(length, new_length):
    return torch.arange(new_length, dtype=torch.float64) * (length / new_length)


def _half_added_only(length, new_length):
    return places_of(length, new_length) + 0.5


def _half_subtracted_only(length, new_length):
    return _whole(length, new_length) - 0.5


def _mirrored_shares(length, new_length):
    places = places_of(length, new_length).clamp(0, length - 1)
    return places.floor() + 1 - (places - places.floor())


bilinear_upsample = Function(
    functions=("bilinear_upsample",),
    reference=resized,
    cases=[
        Case("a row of two pixels, four times as wide", x=given([[[[0.0, 4.0]]]]), size=(1, 8)),
        Case("3×4 to 7×9", x=normal(2, 3, 3, 4), size=(7, 9)),
        Case("twice as high, three times as wide", x=normal(1, 2, 4, 3), size=(8, 9)),
    ],
    points={"out": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "aligns the centres of the corner pixels (align_corners=True)",
            _with_places(_corners),
            hint="the outer edges of the corner pixels meet, not their centres: the step is H / H'",
        ),
        Mistake(
            "takes pixels to be points at whole numbers and leaves the halves out",
            _with_places(_whole),
            hint="the centre of pixel i is half a pixel behind its edge, in the old picture and in the new one",
        ),
        Mistake(
            "adds the half of the new pixel but does not subtract that of the old one",
            _with_places(_half_added_only),
            hint="the centre of old pixel k lies at k + 1/2, measured from the edge",
        ),
        Mistake(
            "subtracts the half of the old pixel but does not add that of the new one",
            _with_places(_half_subtracted_only),
            hint="the centre of new pixel i lies at i + 1/2, measured from the edge",
        ),
        Mistake(
            "takes the nearest pixel",
            _with_places(places_of, nearest=True),
            hint="between two pixels there is a mixture of both, with shares that add up to 1",
        ),
        Mistake(
            "takes everything outside the picture to be 0",
            _with_places(places_of, outside="zeros"),
            hint="beyond the centre of the last pixel its value goes on to the edge: clamp the place",
        ),
        Mistake(
            "draws the line on beyond the last pixel",
            _with_places(places_of, outside="line"),
            hint="beyond the centre of the last pixel its value goes on to the edge: clamp the place",
        ),
        Mistake(
            "looks beyond the first pixel, where index -1 is the last one",
            _with_places(places_of, outside="wrap"),
            hint="limit the place to 0 ... H - 1 before you round it down",
        ),
        Mistake(
            "exchanges the shares of the two neighbours",
            _with_places(_mirrored_shares),
            hint="the nearer a place is to the upper neighbour, the larger is that neighbour's share",
        ),
        Mistake(
            "exchanges the sizes of the axes",
            lambda x, size: resized(x, size[::-1]),
            hint="size is (H', W')",
        ),
        Mistake(
            "interpolates columns only and repeats rows",
            lambda x, size: resized(functional.interpolate(x, size=(size[0], x.shape[3])), size),
            hint="both axes are interpolated, one after the other or at once",
        ),
    ],
)
