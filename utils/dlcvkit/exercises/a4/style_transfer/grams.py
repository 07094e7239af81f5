"""Gram matrices: forward and backward, within masks, and mixed."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Function, Mistake, given, normal, uniform
from dlcvkit.exercises.a4.style_transfer.differentiable import differentiated, with_gradient


def gram_of(x):
    """Gram matrices (N, C, C) of maps (N, C, H, W)."""
    return torch.einsum("nchw,nkhw->nck", x, x) / x[0].numel()


def gradient_of_gram(x, both):
    """The gradient of maps from an upstream gradient that is symmetric already."""
    return torch.einsum("nck,nkhw->nchw", both, x) / x[0].numel()


def _with_dx(gradient):
    """The right Gram matrix with another gradient, ``gradient(x, dgram)``."""
    return lambda x, dgram: (gram_of(x), gradient(x, dgram))


def _with_gram(gram):
    """Another Gram matrix, ``gram(x)``, with the right gradient, for shapes that dgram does not fit."""
    return lambda x, dgram: (gram(x), gradient_of_gram(x, dgram + dgram.mT))


def _centred(x):
    return x - x.mean((2, 3), keepdim=True)


gram_matrix = ForwardBackward(
    functions=("gram_matrix_forward", "gram_matrix_backward"),
    reference=lambda x: gram_of(x),
    upstream={"gram": "dgram"},
    cases=[
        Case("two images, three maps of 4×5", x=normal(2, 3, 4, 5), dgram=normal(2, 3, 3)),
        Case("one image, four maps of 2×3", x=normal(1, 4, 2, 3, mean=0.5), dgram=normal(1, 4, 4)),
        Case("more maps than positions", x=normal(3, 5, 2, 1), dgram=normal(3, 5, 5)),
    ],
    points={"gram": 3, "dx": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the normalisation out",
            lambda x: gram_of(x) * x[0].numel(),
            hint="the products are divided by C * H * W",
        ),
        Mistake(
            "divides by the number of positions only",
            lambda x: gram_of(x) * x.shape[1],
            hint="the products are divided by C * H * W, channels included",
        ),
        Mistake(
            "divides by the number of channels only",
            lambda x: gram_of(x) * x[0, 0].numel(),
            hint="the products are divided by C * H * W, positions included",
        ),
        Mistake(
            "divides by the number of images as well",
            lambda x: gram_of(x) / len(x),
            hint="each image has a Gram matrix of its own; how many there are plays no part in it",
        ),
        Mistake(
            "adds up over the images",
            _with_gram(lambda x: gram_of(x).sum(0)),
            hint="each image has a Gram matrix of its own: the result has shape (N, C, C)",
        ),
        Mistake(
            "compares positions instead of channels",
            _with_gram(lambda x: torch.einsum("ncp,ncq->npq", x.flatten(2), x.flatten(2)) / x[0].numel()),
            hint="the sum runs over positions; which axes are left?",
        ),
        Mistake(
            "mixes channels and positions when it flattens",
            lambda x: gram_of(x.permute(0, 2, 3, 1).reshape(x.shape)),
            hint="flatten the two axes of the positions and leave the channels where they are",
        ),
        Mistake(
            "subtracts the mean of each map first",
            lambda x: gram_of(_centred(x)),
            hint="that would be a covariance; here nothing is subtracted",
        ),
        Mistake(
            "goes back through one of the two factors only",
            _with_dx(lambda x, dgram: gradient_of_gram(x, dgram)),
            hint="x stands in the product twice: write down what each of the two contributes",
        ),
        Mistake(
            "goes back through the second factor only",
            _with_dx(lambda x, dgram: gradient_of_gram(x, dgram.mT)),
            hint="x stands in the product twice: write down what each of the two contributes",
        ),
        Mistake(
            "doubles one factor's share, as if dgram were symmetric",
            _with_dx(lambda x, dgram: gradient_of_gram(x, 2 * dgram)),
            hint="the Gram matrix is symmetric, but dgram need not be: the two factors contribute different things",
        ),
        Mistake(
            "doubles the second factor's share, as if dgram were symmetric",
            _with_dx(lambda x, dgram: gradient_of_gram(x, 2 * dgram.mT)),
            hint="the Gram matrix is symmetric, but dgram need not be: the two factors contribute different things",
        ),
        Mistake(
            "averages the two factors' shares",
            _with_dx(lambda x, dgram: gradient_of_gram(x, (dgram + dgram.mT) / 2)),
            hint="by the product rule the two contributions are added",
        ),
        Mistake(
            "leaves the normalisation out of the gradient",
            _with_dx(lambda x, dgram: gradient_of_gram(x, dgram + dgram.mT) * x[0].numel()),
            hint="a constant factor of the output is a factor of the gradient as well",
        ),
        Mistake(
            "leaves dx flat",
            _with_dx(lambda x, dgram: gradient_of_gram(x, dgram + dgram.mT).flatten(2)),
            hint="a gradient has the shape of what it belongs to: look at the shape of x",
        ),
        Mistake(
            "ignores the upstream gradient",
            _with_dx(lambda x, dgram: gradient_of_gram(x, 2 * torch.ones_like(dgram))),
            hint="every gradient holds dgram: what comes after says how much each entry matters",
        ),
    ],
)


def guided(x, masks):
    """Gram matrices (N, R, C, C) within R masks."""
    squares = masks**2
    sums = torch.einsum("nchw,nkhw,rhw->nrck", x, x, squares)
    area = squares.sum((1, 2)).reshape(-1, 1, 1) * x.shape[1]
    return sums / torch.where(area > 0, area, 1)


def _area(masks, power=2):
    area = (masks**power).sum((1, 2)).reshape(-1, 1, 1)
    return torch.where(area > 0, area, 1)


def _guided(name, variant, hint):
    return Mistake(name, differentiated(variant, "x"), hint)


def _sums(x, masks, power=2):
    return torch.einsum("nchw,nkhw,rhw->nrck", x, x, masks**power)


_HALVES = given([[[1.0, 1.0, 0.0, 0.0]] * 3, [[0.0, 0.0, 1.0, 1.0]] * 3])


def _call_guided_gram_matrix(guided_gram_matrix, **inputs):
    return with_gradient(guided_gram_matrix, "x", **inputs)


guided_gram_matrix = Function(
    functions=("guided_gram_matrix",),
    reference=differentiated(guided, "x"),
    call=_call_guided_gram_matrix,
    cases=[
        Case("left and right half", x=normal(2, 3, 3, 4), masks=_HALVES, upstream=normal(2, 2, 3, 3)),
        Case("three soft masks", x=normal(1, 4, 5, 2), masks=uniform(3, 5, 2), upstream=normal(1, 3, 4, 4)),
        Case(
            "one of two masks is empty",
            x=normal(2, 2, 2, 3),
            masks=given([[[0.0] * 3] * 2, [[0.5, 1.0, 0.25]] * 2]),
            upstream=normal(2, 2, 2, 2),
        ),
    ],
    points={"gram": 3, "gradient": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _guided(
            "divides by zero where a mask is empty",
            lambda x, masks: _sums(x, masks) / (masks**2).sum((1, 2)).reshape(-1, 1, 1) / x.shape[1],
            hint="the sum above the fraction line is 0 for an empty mask; keep the one below it from being 0",
        ),
        _guided(
            "takes the mask instead of its square, above and below",
            lambda x, masks: _sums(x, masks, 1) / _area(masks, 1) / x.shape[1],
            hint="features are multiplied by the mask, and the Gram matrix holds each of them twice",
        ),
        _guided(
            "divides by the sum of the mask instead of that of its square",
            lambda x, masks: _sums(x, masks) / _area(masks, 1) / x.shape[1],
            hint="with the same map everywhere, the result must not depend on the mask: what has to stand below?",
        ),
        _guided(
            "divides by the size of the maps instead of the size of the region",
            lambda x, masks: _sums(x, masks) / x[0].numel(),
            hint="a small region would get a small Gram matrix; divide by how much the mask lets through",
        ),
        _guided(
            "leaves the number of channels out of the normalisation",
            lambda x, masks: _sums(x, masks) / _area(masks),
            hint="with a mask of ones everywhere, the result is that of gram_matrix_forward",
        ),
        _guided(
            "leaves the normalisation out",
            lambda x, masks: _sums(x, masks),
            hint="with a mask of ones everywhere, the result is that of gram_matrix_forward",
        ),
        _guided(
            "divides by the number of pixels that the mask touches",
            lambda x, masks: _sums(x, masks) / _area((masks > 0).to(x.dtype)) / x.shape[1],
            hint="a soft mask counts its pixels in part: the sum of its squares stands below",
        ),
        _guided(
            "puts all masks together",
            lambda x, masks: _sums(x, masks.sum(0, keepdim=True).expand_as(masks)) / _area(masks) / x.shape[1],
            hint="each region has a Gram matrix of its own",
        ),
        _guided(
            "has the axes of images and masks in the wrong order",
            lambda x, masks: guided(x, masks).transpose(0, 1),
            hint="images first, then masks: (N, R, C, C)",
        ),
        _guided(
            "ignores the masks",
            lambda x, masks: gram_of(x)[:, None].expand(-1, len(masks), -1, -1),
            hint="features outside the region play no part",
        ),
        _guided(
            "adds the images up",
            lambda x, masks: (guided(x, masks).sum(0).detach(), torch.zeros_like(x)),
            hint="each image has Gram matrices of its own: (N, R, C, C)",
        ),
    ],
)
