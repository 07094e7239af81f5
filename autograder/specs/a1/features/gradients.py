"""Magnitude and angle of an image's gradient."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, given, uniform


def _gray_differences(gray):
    height, width = gray.shape
    rows = torch.arange(height, device=gray.device)
    columns = torch.arange(width, device=gray.device)
    gx = gray[:, (columns + 1).clamp(max=width - 1)] - gray[:, (columns - 1).clamp(min=0)]
    gy = gray[(rows + 1).clamp(max=height - 1)] - gray[(rows - 1).clamp(min=0)]
    return gx, gy


def _fold(angle):
    angle = torch.where(angle < 0, angle + math.pi, angle)
    return torch.where(angle >= math.pi, torch.zeros_like(angle), angle)


def gradients_by_index(img):
    gx, gy = _gray_differences(img.mean(0))
    return (gx * gx + gy * gy).sqrt(), _fold(torch.atan2(gy, gx))


def _gradients_by_loops(img):
    gray = img.sum(0) / img.shape[0]
    height, width = gray.shape
    magnitude, angle = torch.zeros_like(gray), torch.zeros_like(gray)
    for y in range(height):
        for x in range(width):
            gx = float(gray[y, min(x + 1, width - 1)] - gray[y, max(x - 1, 0)])
            gy = float(gray[min(y + 1, height - 1), x] - gray[max(y - 1, 0), x])
            magnitude[y, x] = math.hypot(gx, gy)
            angle[y, x] = math.atan2(gy, gx) % math.pi
    return magnitude, angle


def _gradients_in_float32(img):
    return gradients_by_index(img.float())


def _gradients_of_transposed(img):
    magnitude, angle = gradients_by_index(img.transpose(1, 2))
    # Mirroring at the diagonal exchanges gx and gy: the angle becomes π/2 minus it.
    angle = torch.remainder(math.pi / 2 - angle, math.pi)
    return magnitude.T, torch.where(magnitude.T == 0, torch.zeros_like(angle.T), angle.T)


def _arctangent_of_quotient(img):
    gx, gy = _gray_differences(img.mean(0))
    return torch.hypot(gx, gy), torch.remainder(torch.atan(gy / gx), math.pi)


def _guarded_quotient(img):
    gx, gy = _gray_differences(img.mean(0))
    return torch.hypot(gx, gy), torch.remainder(torch.atan(gy / (gx + 1e-2)), math.pi)


def zero_on_border(img):
    magnitude, angle = gradients_by_index(img)
    for value in (magnitude, angle):
        value[0], value[-1], value[:, 0], value[:, -1] = 0, 0, 0, 0
    return magnitude, angle


def _inner_pixels_only(img):
    magnitude, angle = gradients_by_index(img)
    return magnitude[1:-1, 1:-1], angle[1:-1, 1:-1]


def one_sided_border(img):
    """Full one-sided differences at the border, as numpy.gradient takes them."""
    gray = img.mean(0)
    gx, gy = _gray_differences(gray)
    gx[:, 0], gx[:, -1], gy[0], gy[-1] = 2 * gx[:, 0], 2 * gx[:, -1], 2 * gy[0], 2 * gy[-1]
    return torch.hypot(gx, gy), torch.remainder(torch.atan2(gy, gx), math.pi)


def _gray_by_luminance(img):
    weights = img.new_tensor([0.299, 0.587, 0.114])[: len(img), None, None]
    return gradients_by_index((img * weights).sum(0, keepdim=True))


def _mean_of_magnitudes(img):
    return torch.stack([gradients_by_index(c[None])[0] for c in img]).mean(0), gradients_by_index(img)[1]


def _three_channels_assumed(img):
    return gradients_by_index(img.sum(0, keepdim=True) / 3)


def _subtracts_in_place(img):
    out = gradients_by_index(img)
    img -= img.mean()
    return out


def _flipped_vertical(img):
    gx, gy = _gray_differences(img.mean(0))
    return torch.hypot(gx, gy), torch.remainder(torch.atan2(-gy, gx), math.pi)


def _angle_first(img):
    magnitude, angle = gradients_by_index(img)
    return angle, magnitude


image_gradients = Hidden(
    cases=[
        Case("one pixel", img=uniform(3, 1, 1)),
        Case("one row", img=uniform(2, 1, 6)),
        Case("one column", img=uniform(3, 5, 1)),
        Case("two rows", img=uniform(4, 2, 5)),
        Case("a flat region", img=given([[[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 1.0]]] * 3)),
        Case("a ramp that brightens downwards", img=given([[[0.0] * 3, [0.25] * 3, [0.5] * 3, [1.0] * 3]])),
        Case("a ramp that darkens downwards", img=given([[[1.0] * 4, [0.5] * 4, [0.25] * 4]])),
        Case("float32", img=uniform(3, 7, 4)).float32(),
        Case("a non-contiguous image", img=uniform(3, 4, 9)).strided(),
    ],
    mutants={
        "divides gy by gx": _arctangent_of_quotient,
        "divides gy by gx plus a small number": _guarded_quotient,
        "sets the border to zero": zero_on_border,
        "returns the inner pixels only": _inner_pixels_only,
        "takes one-sided differences at the border": one_sided_border,
        "weighs the channels by luminance": _gray_by_luminance,
        "averages magnitudes instead of channels": _mean_of_magnitudes,
        "divides by three whatever the number of channels": _three_channels_assumed,
        "subtracts the mean in place": _subtracts_in_place,
        "counts rows upwards": _flipped_vertical,
        "returns the angle first": _angle_first,
        "returns float64 whatever the input": lambda img: tuple(v.double() for v in gradients_by_index(img)),
        "returns one tensor": lambda img: torch.stack(gradients_by_index(img)),
    },
    solutions={
        "indices": gradients_by_index,
        "loops": _gradients_by_loops,
        "float32": _gradients_in_float32,
        "through the transposed image": _gradients_of_transposed,
    },
    equivalent={
        (
            "image_gradients: torch.cat([gray[:1], gray, gray[-1:]], dim=0) -> torch.cat([gray[:1], gray, gray[-1:]])"
        ): "0 is the default of dim",
    },
)
