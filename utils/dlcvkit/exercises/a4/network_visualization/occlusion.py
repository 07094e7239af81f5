"""Occlusion: cover a part of the image, and see what becomes of the score."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, given, uniform
from dlcvkit.exercises.a4.network_visualization.gradients import convolutional, linear
from dlcvkit.exercises.a4.network_visualization.networks import classifier, ran

FITS, TOO_LARGE = "within batch_size", "larger than batch_size"
NO_MAP, REFUSED, NOT_NEEDED = "no map", "ValueError", "not needed"


def _call(function, image, label, size, stride, fill, batch_size, weights):
    model = classifier(weights)
    arguments = (model, image, label, size, stride, fill, batch_size)
    if size > min(image.shape[1:]):
        return NO_MAP, FITS, _refusal(function, arguments)
    result = ran(function, *arguments, image=image, fill=fill)
    return result, FITS if model.largest <= batch_size else TOO_LARGE, NOT_NEEDED


def _refusal(function, arguments):
    """Return the name of what is raised for a patch that does not fit; a stub is let through."""
    try:
        function(*arguments)
    except NotImplementedError:
        raise
    except Exception as error:
        return REFUSED if isinstance(error, ValueError) else type(error).__name__
    return "no error"


def _fitting(run):
    """The variant where the patch fits, and a refusal where it does not."""

    def refusing(image, size, **inputs):
        if size > min(image.shape[1:]):
            return NO_MAP, FITS, REFUSED
        return *run(image=image, size=size, **inputs), NOT_NEEDED

    return refusing


def _masks(image, size, stride, *, order="ij"):
    """Return one mask per position, 1 where the patch lies, shape (P, 1, H, W), and how many rows and columns."""
    H, W = image.shape[1:]
    inside = functional.unfold(torch.arange(1.0, H * W + 1).reshape(1, 1, H, W), size, stride=stride)[0].long() - 1
    masks = torch.zeros(inside.shape[1], H * W, dtype=image.dtype)
    masks.scatter_(1, inside.T, 1.0)
    grid = (H - size) // stride + 1, (W - size) // stride + 1
    masks = masks.reshape(*grid, 1, H, W)
    if order == "ji":
        return masks.transpose(0, 1).reshape(-1, 1, H, W).to(image.device), grid
    return masks.reshape(-1, 1, H, W).to(image.device), grid


def _score(scores, label):
    return scores[:, label]


def _occluded(
    *, score=_score, drop=lambda before, after: before - after, filled=lambda fill: fill, order="ij", batches=FITS
):
    """The map, each keyword a place where it can go wrong."""

    @_fitting
    def run(image, label, size, stride, fill, batch_size, weights):
        model = classifier(weights)
        masks, grid = _masks(image, size, stride, order=order)
        copies = torch.lerp(image[None], filled(fill)[None, :, None, None].expand_as(image[None]), masks)
        with torch.no_grad():
            before, after = score(model(image[None]), label), score(model(copies), label)
        return drop(before, after).reshape(grid), batches

    return run


@_fitting
def _cumulative(image, label, size, stride, fill, batch_size, weights):
    """The patches stay on the image."""
    model = classifier(weights)
    masks, grid = _masks(image, size, stride)
    covered = masks.cumsum(0).clamp(max=1)
    copies = torch.lerp(image[None], fill[None, :, None, None].expand_as(image[None]), covered)
    with torch.no_grad():
        drop = model(image[None])[:, label] - model(copies)[:, label]
    return drop.reshape(grid), FITS


@_fitting
def _kept(image, label, size, stride, fill, batch_size, weights):
    """The patch is what stays, and the rest is covered."""
    model = classifier(weights)
    masks, grid = _masks(image, size, stride)
    copies = torch.lerp(fill[None, :, None, None].expand_as(image[None]), image[None], masks)
    with torch.no_grad():
        drop = model(image[None])[:, label] - model(copies)[:, label]
    return drop.reshape(grid), FITS


def _per_step(**inputs):
    """Every position, with the stride left out."""
    return _occluded()(**{**inputs, "stride": 1})


def _without_last(**inputs):
    (H, W), size, stride = inputs["image"].shape[1:], inputs["size"], inputs["stride"]
    drop, *rest = _occluded()(**inputs)
    return drop if isinstance(drop, str) else drop[
        : (H - size - 1) // stride + 1, : (W - size - 1) // stride + 1
    ], *rest


def _accepting(**inputs):
    """A patch of any size is taken."""
    drop, batches, refusal = _occluded()(**inputs)
    return drop, batches, "no error" if refusal == REFUSED else refusal


@_fitting
def _colours_along_columns(image, label, size, stride, fill, batch_size, weights):
    """``patch[...] = fill`` without new axes: torch lines the colours up with the columns, where their number fits."""
    model = classifier(weights)
    masks, grid = _masks(image, size, stride)
    patch = fill.expand(len(image), size, size)
    copies = image.expand(len(masks), *image.shape).clone()
    for copy, mask in zip(copies, masks.expand_as(copies), strict=True):
        copy[mask > 0] = patch.flatten()
    with torch.no_grad():
        drop = model(image[None])[:, label] - model(copies)[:, label]
    return drop.reshape(grid), FITS


occlusion_map = Function(
    functions=("occlusion_map",),
    reference=_occluded(),
    call=_call,
    cases=[
        Case(
            "2×6×9, linear",
            image=uniform(2, 6, 9),
            label=1,
            size=2,
            stride=1,
            fill=uniform(2),
            batch_size=7,
            weights=linear(3, 108),
        ),
        Case(
            "3×7×5",
            image=uniform(3, 7, 5),
            label=3,
            size=3,
            stride=2,
            fill=uniform(3),
            batch_size=4,
            weights=convolutional(4, 3, 5),
        ),
        Case(
            "the stride does not divide",
            image=uniform(1, 8, 6),
            label=0,
            size=3,
            stride=2,
            fill=given([0.5]),
            batch_size=100,
            weights=convolutional(2, 1, 4),
        ),
        Case(
            "a patch higher than the image",
            image=uniform(2, 3, 6),
            label=0,
            size=4,
            stride=1,
            fill=uniform(2),
            batch_size=5,
            weights=linear(2, 36),
        ),
    ],
    points={"drop": 3, "batches": 1, "refusal": 1},
    mistakes=[
        Mistake(
            "returns the score itself instead of its drop",
            _occluded(drop=lambda before, after: after),
            hint="what was lost is asked for: the score before, less the score with the patch",
        ),
        Mistake(
            "subtracts the wrong way round",
            _occluded(drop=lambda before, after: after - before),
            hint="a patch that hides what speaks for the class gives a positive number",
        ),
        Mistake(
            "takes the absolute value",
            _occluded(drop=lambda before, after: (before - after).abs()),
            hint="where the score rises, the patch hid something that spoke against the class: keep the sign",
        ),
        Mistake(
            "takes the drop of the probability",
            _occluded(score=lambda scores, label: scores.softmax(1)[:, label]),
            hint="scores are compared, before any softmax",
        ),
        Mistake(
            "takes the drop of the highest score",
            _occluded(score=lambda scores, label: scores.amax(1)),
            hint="the class that is asked about is label",
        ),
        Mistake(
            "fills with 0",
            _occluded(filled=torch.zeros_like),
            hint="fill has a value for each channel",
        ),
        Mistake(
            "fills every channel with the same value",
            _occluded(filled=lambda fill: fill[:1].expand_as(fill)),
            hint="fill has a value for each channel: bring its axis to where the image has its channels",
        ),
        Mistake(
            "lines the colours up with the columns of the patch",
            _colours_along_columns,
            hint="torch matches axes from the last one: give fill axes for rows and columns",
        ),
        Mistake(
            "leaves the patches on the image",
            _cumulative,
            hint="every position starts from the image as it came in",
        ),
        Mistake(
            "covers everything but the patch",
            _kept,
            hint="the patch is what is hidden",
        ),
        Mistake(
            "walks down the columns first",
            _occluded(order="ji"),
            hint="entry [i, j] belongs to the patch whose upper left corner is at row i * stride, column j * stride",
        ),
        Mistake(
            "leaves the stride out",
            _per_step,
            hint="the patch moves by stride pixels, and so the map is smaller",
        ),
        Mistake(
            "leaves the last positions out",
            _without_last,
            hint="the last patch may touch the border: the formula of the shape counts that position",
        ),
        Mistake(
            "takes a patch that does not fit",
            _accepting,
            hint="compare the patch with the height and with the width, before anything else, and raise ValueError",
        ),
        Mistake(
            "gives the model more than batch_size images at once",
            _occluded(batches=TOO_LARGE),
            hint="make and judge the copies batch_size at a time",
        ),
    ],
)
