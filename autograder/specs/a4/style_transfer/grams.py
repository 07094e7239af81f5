"""Hidden cases, mutants and other solutions of Gram matrices, plain and within masks."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal, uniform

_FOUR_AXES = "maps have four axes, so the third is the last but one"
_ONE_SIZE = "all images of a batch have the same size"

_NEVER_SO_FAINT = "any number far below the square of a mask that is not 0 will do: the sum above is 0 where it counts"


def _forward(x):
    flat = x.flatten(2)
    return flat @ flat.mT / x[0].numel(), x


def _backward(dgram, x, fault=""):
    """The gradient, spoilt by one ``fault``."""
    flat = x.flatten(2)
    both = dgram + dgram.mT
    if fault == "upper triangle only":
        both = dgram.triu() + dgram.triu().mT
    if fault == "difference of the two":
        both = dgram - dgram.mT
    if fault == "mean over the images":
        both = both.mean(0, keepdim=True).expand_as(both)
    if fault == "first image's maps":
        flat = flat[:1].expand_as(flat)
    if fault == "diagonal left out":
        both = both - torch.diag_embed(both.diagonal(dim1=1, dim2=2))
    dx = both @ flat / x[0].numel()
    if fault == "opposite sign":
        dx = -dx
    if fault == "divided by the images":
        dx = dx / len(x)
    if fault == "divided by the positions only":
        dx = dx * x.shape[1]
    if fault == "a list":
        return [dx.reshape(x.shape)]
    if fault == "float of the first image":
        return dx.reshape(x.shape)[:1]
    return dx.reshape(x.shape)


_FAULTS = (
    "upper triangle only",
    "difference of the two",
    "mean over the images",
    "first image's maps",
    "diagonal left out",
    "opposite sign",
    "divided by the images",
    "divided by the positions only",
    "a list",
    "float of the first image",
)


def _spoilt(fault):
    return lambda dgram, cache: _backward(dgram, cache, fault)


def _forward_by_loop(x):
    N, C, H, W = x.shape
    gram = x.new_zeros(N, C, C)
    for n in range(N):
        for i in range(C):
            for j in range(C):
                gram[n, i, j] = (x[n, i] * x[n, j]).sum() / (C * H * W)
    return gram, {"x": x, "size": C * H * W}


def _backward_by_loop(dgram, cache):
    x, dx = cache["x"], torch.zeros_like(cache["x"])
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            weight = dgram[:, i, j][:, None, None] / cache["size"]
            dx[:, i] += weight * x[:, j]
            dx[:, j] += weight * x[:, i]
    return dx


def _forward_in_float32(x):
    scaled = x.float().flatten(2) / (x.shape[1] * x.shape[2] * x.shape[3]) ** 0.5
    return torch.bmm(scaled, scaled.transpose(1, 2)), (scaled, x)


def _backward_in_float32(dgram, cache):
    scaled, x = cache
    d = dgram.float()
    out = torch.bmm(d, scaled) + torch.bmm(d.transpose(1, 2), scaled)
    return (out / (x.shape[1] * x.shape[2] * x.shape[3]) ** 0.5).reshape(x.shape)


def _forward_by_einsum(x):
    return torch.einsum("nchw,ndhw->ncd", x, x).div(x[0].numel()), (x,)


def _backward_by_einsum(dgram, cache):
    (x,) = cache
    first = torch.einsum("ncd,ndhw->nchw", dgram, x)
    second = torch.einsum("ncd,nchw->ndhw", dgram, x)
    return (first + second) / x[0].numel()


def _forward_by_view(x):
    flat = x.view(x.shape[0], x.shape[1], -1)
    return flat @ flat.mT / x[0].numel(), x


def _forward_in_place(x):
    x /= x[0].numel() ** 0.5
    return x.flatten(2) @ x.flatten(2).mT, x


def _forward_by_autograd(x):
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        gram = leaf.flatten(2) @ leaf.flatten(2).mT / x[0].numel()
    return gram.detach(), (leaf, gram)


def _backward_by_autograd(dgram, cache):
    leaf, gram = cache
    return torch.autograd.grad(gram, leaf, dgram)[0]


def _diagonal(x):
    return torch.diag_embed(x.square().sum((2, 3))) / x[0].numel(), x


gram_matrix = Hidden(
    cases=[
        Case("one map", x=normal(2, 1, 3, 4), dgram=normal(2, 1, 1)),
        Case("one position", x=normal(3, 4, 1, 1), dgram=normal(3, 4, 4)),
        Case("one of everything", x=normal(1, 1, 1, 1), dgram=normal(1, 1, 1)),
        Case("a single row", x=normal(2, 3, 1, 6), dgram=normal(2, 3, 3)),
        Case("as many images as maps and positions", x=normal(4, 4, 4, 4), dgram=normal(4, 4, 4)),
        Case("non-contiguous", x=normal(2, 5, 3, 4), dgram=normal(2, 5, 5)).strided(),
        Case("float32", x=normal(3, 4, 5, 2), dgram=normal(3, 4, 4)).float32(),
        Case("maps of 10,000", x=normal(2, 3, 2, 5, std=1e4), dgram=normal(2, 3, 3, std=1e-3)),
        Case("maps of zeros", x=normal(2, 3, 4, 2, std=0.0), dgram=normal(2, 3, 3)),
        Case("no gradient from above", x=normal(2, 3, 4, 2), dgram=normal(2, 3, 3, std=0.0)),
        Case("large means", x=normal(2, 3, 5, 4, mean=10.0), dgram=normal(2, 3, 3)),
    ],
    mutants={
        **{fault: (_forward, _spoilt(fault)) for fault in _FAULTS},
        "insists on contiguous memory": (_forward_by_view, _backward),
        "changes x": (_forward_in_place, _backward),
        "leaves it to autograd": (_forward_by_autograd, _backward_by_autograd),
        "correlations instead of products": (
            lambda x: (torch.stack([torch.atleast_2d(torch.corrcoef(image.flatten(1))) for image in x]), x),
            _backward,
        ),
        "the diagonal only": (_diagonal, _backward),
        "absolute values": (lambda x: (_forward(x.abs())[0], x), _backward),
        "returns no cache": (lambda x: _forward(x)[0], _backward),
        "backward not written": (_forward, lambda dgram, cache: None),
        "height and width exchanged in one factor": (
            lambda x: (x.flatten(2) @ x.transpose(2, 3).flatten(2).mT / x[0].numel(), x),
            _backward,
        ),
        "takes one image only": (lambda x: (_forward(x[:1])[0], x), _backward),
    },
    solutions={
        "entry by entry, cache as a dict": (_forward_by_loop, _backward_by_loop),
        "in float32, the factor split in two": (_forward_in_float32, _backward_in_float32),
        "einsum, two terms": (_forward_by_einsum, _backward_by_einsum),
    },
    equivalent={
        "gram_matrix_forward: x.flatten(2) -> x.flatten(-2)": _FOUR_AXES,
        "gram_matrix_forward: x[0] -> x[-1]": _ONE_SIZE,
        "gram_matrix_backward: x.flatten(2) -> x.flatten(-2)": _FOUR_AXES,
        "gram_matrix_backward: x[0] -> x[-1]": _ONE_SIZE,
    },
)


# Within masks.


def _guided(x, masks, tiny=1e-12):
    inside = x[:, None] * masks[:, None]
    flat = inside.flatten(3)
    area = masks.square().sum((1, 2)).clamp(min=tiny)
    return flat @ flat.mT / (x.shape[1] * area[:, None, None])


def _guided_by_loop(x, masks):
    N, C = x.shape[:2]
    rows = []
    for n in range(N):
        row = []
        for mask in masks:
            area = float((mask * mask).sum())
            flat = (x[n] * mask).reshape(C, -1)
            row.append(flat @ flat.T / (C * area) if area > 0 else flat @ flat.T)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def _guided_in_float32(x, masks):
    x, masks = x.float(), masks.float()
    area = (masks * masks).flatten(1).sum(1)
    weights = masks * masks / torch.where(area > 0, area, torch.ones_like(area))[:, None, None]
    return torch.einsum("nihw,njhw,rhw->nrij", x, x, weights) / x.shape[1]


def _guided_by_unit_masks(x, masks):
    """The paper's way: masks of which the squares add up to 1."""
    size = masks.flatten(1).norm(dim=1)
    unit = masks / (size + (size == 0).to(masks.dtype))[:, None, None]
    maps = torch.stack([x * each for each in unit], dim=1).flatten(3)
    return torch.matmul(maps, maps.transpose(2, 3)).div(x.shape[1])


def _guided_in_place(x, masks):
    masks *= masks
    return torch.einsum("nihw,njhw,rhw->nrij", x, x, masks) / masks.sum((1, 2))[:, None, None] / x.shape[1]


def _guided_by_where(x, masks):
    """NaN is replaced in the result, but not in the gradient."""
    inside = (x[:, None] * masks[:, None]).flatten(3)
    gram = inside @ inside.mT / (x.shape[1] * masks.square().sum((1, 2)))[:, None, None]
    return torch.where(gram.isnan(), 0.0, gram)


guided_gram_matrix = Hidden(
    cases=[
        Case(
            "a mask of ones",
            x=normal(2, 3, 2, 4),
            masks=normal(1, 2, 4, mean=1.0, std=0.0),
            upstream=normal(2, 1, 3, 3),
        ),
        Case("one map", x=normal(2, 1, 3, 4), masks=uniform(2, 3, 4), upstream=normal(2, 2, 1, 1)),
        Case("one position", x=normal(3, 2, 1, 1), masks=uniform(2, 1, 1, low=0.1), upstream=normal(3, 2, 2, 2)),
        Case(
            "a mask of one pixel",
            x=normal(1, 3, 2, 2),
            masks=given([[[0.0, 0.0], [1.0, 0.0]]]),
            upstream=normal(1, 1, 3, 3),
        ),
        Case("all masks are empty", x=normal(2, 3, 2, 3), masks=normal(2, 2, 3, std=0.0), upstream=normal(2, 2, 3, 3)),
        Case(
            "masks that are all faint",
            x=normal(2, 3, 4, 5),
            masks=uniform(2, 4, 5, high=0.02),
            upstream=normal(2, 2, 3, 3),
        ),
        Case("non-contiguous", x=normal(2, 3, 4, 5), masks=uniform(3, 4, 5), upstream=normal(2, 3, 3, 3)).strided(),
        Case("float32", x=normal(3, 4, 3, 5), masks=uniform(2, 3, 5), upstream=normal(3, 2, 4, 4)).float32(),
        Case("maps of 10,000", x=normal(2, 3, 2, 5, std=1e4), masks=uniform(2, 2, 5), upstream=normal(2, 2, 3, 3)),
        Case("all axes of the same length", x=normal(3, 3, 3, 3), masks=uniform(3, 3, 3), upstream=normal(3, 3, 3, 3)),
    ],
    mutants={
        "NaN hidden by where": _guided_by_where,
        "adds a constant below": lambda x, masks: (
            _guided(x, masks)
            * masks.square().sum((1, 2))[:, None, None]
            / (masks.square().sum((1, 2))[:, None, None] + 1e-3)
        ),
        "takes a sum of 1 at least": lambda x, masks: _guided(x, masks, tiny=1.0),
        "changes masks": _guided_in_place,
        "is cut off from x": lambda x, masks: _guided(x.detach(), masks),
        "cuts masks at one half": lambda x, masks: _guided(x, (masks > 0.5).to(x.dtype)),
        "outside instead of inside": lambda x, masks: _guided(x, 1 - masks),
        "multiplies one factor only": lambda x, masks: (
            (x[:, None] * masks[:, None]).flatten(3)
            @ x.flatten(2)[:, None].mT
            / (x.shape[1] * masks.square().sum((1, 2)).clamp(min=1e-12)[:, None, None])
        ),
        "scales each mask to 1 at most": lambda x, masks: (
            _guided(x, masks) * masks.square().sum((1, 2))[:, None, None] / masks.amax((1, 2))[:, None, None]
        ),
        "the first mask for all": lambda x, masks: _guided(x, masks[:1].expand_as(masks)),
        "turns masks upside down": lambda x, masks: _guided(x, masks.flip(1)),
        "divides by the number of masks": lambda x, masks: _guided(x, masks) / len(masks),
        "one axis for images and masks": lambda x, masks: _guided(x, masks).flatten(0, 1),
        "returns a list": lambda x, masks: list(_guided(x, masks)),
        "returns nothing": lambda x, masks: None,
    },
    solutions={
        "image by image and mask by mask": _guided_by_loop,
        "einsum in float32": _guided_in_float32,
        "masks of unit length": _guided_by_unit_masks,
    },
    equivalent={
        f"guided_gram_matrix: masks.square().sum(dim=(1, 2)).clamp(min=1e-12) -> "
        f"masks.square().sum(dim=(1, 2)).clamp(min={other})": _NEVER_SO_FAINT
        for other in ("2e-12", "5e-13")
    },
)
