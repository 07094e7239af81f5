"""Magnitude and angle of an image's gradient."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import pad

from dlcvkit.checking import Case, Function, Mistake, given, uniform


def _differences(gray, mode="replicate"):
    padded = pad(gray[None, None], (1, 1, 1, 1), mode=mode)[0, 0]
    return padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]


def _polar(gx, gy):
    return torch.hypot(gx, gy), torch.remainder(torch.atan2(gy, gx), math.pi)


def gradients_of_image(img):
    return _polar(*_differences(img.mean(0)))


def _forward_differences(img):
    gray = pad(img.mean(0)[None, None], (0, 1, 0, 1), mode="replicate")[0, 0]
    return _polar(gray[:-1, 1:] - gray[:-1, :-1], gray[1:, :-1] - gray[:-1, :-1])


def _signed(img):
    gx, gy = _differences(img.mean(0))
    return torch.hypot(gx, gy), torch.atan2(gy, gx)


def full_turn(img):
    magnitude, angle = _signed(img)
    return magnitude, torch.remainder(angle, 2 * math.pi)


def _keeps_pi(img):
    magnitude, angle = _signed(img)
    return magnitude, torch.where(angle < 0, angle + math.pi, angle)


def _absolute_angle(img):
    magnitude, angle = _signed(img)
    return magnitude, angle.abs()


def _rows_upwards(img):
    gx, gy = _differences(img.mean(0))
    return _polar(gx, -gy)


def _axes_swapped(img):
    gx, gy = _differences(img.mean(0))
    return _polar(gy, gx)


def _from_differences(magnitude):
    """Build a mistake's variant that has the right angle and a magnitude of its own."""

    def variant(img):
        gray = img.mean(0)
        return magnitude(*_differences(gray)), gradients_of_image(img)[1]

    return variant


image_gradients = Function(
    functions=("image_gradients",),
    reference=gradients_of_image,
    cases=[
        Case("three channels of 5×7", img=uniform(3, 5, 7)),
        Case("one channel of 6×4", img=uniform(1, 6, 4)),
        Case("a ramp that darkens to the right", img=given([[[0.75, 0.5, 0.25, 0.0]] * 3])),
    ],
    points={"magnitude": 2, "angle": 2},
    mistakes=[
        Mistake(
            "halves the differences",
            _from_differences(lambda gx, gy: torch.hypot(gx, gy) / 2),
            hint="the difference of the two neighbours is taken as it is; nothing is divided",
        ),
        Mistake(
            "leaves out the square root",
            _from_differences(lambda gx, gy: gx.square() + gy.square()),
            hint="the magnitude is the length of the arrow (gx, gy)",
        ),
        Mistake(
            "adds absolute differences instead of taking the length",
            _from_differences(lambda gx, gy: gx.abs() + gy.abs()),
            hint="the magnitude is the length of the arrow (gx, gy)",
        ),
        Mistake(
            "adds the channels up instead of averaging them",
            lambda img: gradients_of_image(img * len(img)),
            hint="grey is the mean over the channels",
        ),
        Mistake(
            "uses the first channel only",
            lambda img: gradients_of_image(img[:1]),
            hint="grey is the mean over the channels",
        ),
        Mistake(
            "pads the border with zeros",
            lambda img: _polar(*_differences(img.mean(0), mode="constant")),
            hint="beyond the border the nearest pixel is repeated; black there would draw an edge around the image",
        ),
        Mistake(
            "wraps around at the border",
            lambda img: _polar(*_differences(img.mean(0), mode="circular")),
            hint="beyond the border the nearest pixel is repeated; the opposite side has no part in it",
        ),
        Mistake(
            "takes the difference to one neighbour only",
            _forward_differences,
            hint="the difference goes from the neighbour before to the neighbour after, over two steps",
        ),
        Mistake(
            "takes differences as torch.gradient does",
            lambda img: _polar(*reversed(torch.gradient(img.mean(0)))),
            hint="nothing is halved, and beyond the border the nearest pixel is repeated",
        ),
        Mistake(
            "swaps the horizontal and the vertical difference in the angle",
            _axes_swapped,
            hint="atan2 takes gy first; gx runs along the columns, gy along the rows",
        ),
        Mistake(
            "leaves an angle of π as it is",
            _keeps_pi,
            hint="π is the same orientation as 0, and [0, π) leaves it out",
        ),
        Mistake(
            "returns signed angles",
            _signed,
            hint="opposite directions count as one orientation: fold the angles into [0, π)",
        ),
        Mistake(
            "folds the angles into a full turn",
            full_turn,
            hint="opposite directions count as one orientation: fold the angles into [0, π), half a turn",
        ),
        Mistake(
            "takes the absolute value of the angle",
            _absolute_angle,
            hint="the direction opposite to -0.2 is π - 0.2, not 0.2",
        ),
        Mistake(
            "counts rows upwards",
            _rows_upwards,
            hint="gy is the pixel below minus the pixel above: row numbers grow downwards",
        ),
        Mistake(
            "leaves the border out",
            lambda img: tuple(value[1:-1, 1:-1] for value in gradients_of_image(img)),
            hint="every pixel has a gradient: beyond the border the nearest pixel is repeated",
        ),
        Mistake(
            "gives angles in degrees",
            lambda img: (gradients_of_image(img)[0], torch.rad2deg(gradients_of_image(img)[1])),
            hint="angles are in radians",
        ),
    ],
)
