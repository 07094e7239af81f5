"""Hidden cases, mutants and other solutions of the content loss and total variation."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal, uniform

# The content loss.


def _content_by_loop(features, target):
    total = 0
    for have, want in zip(features, target, strict=True):
        for a, b in zip(have, want, strict=True):
            total = total + (a - b).pow(2).sum()
    return total / features.numel()


def _content_by_norm(features, target):
    difference = (features - target).flatten()
    return torch.dot(difference, difference) / len(difference)


def _content_in_float32(features, target):
    return torch.mean(torch.square(features.float() - target.float()))


def _content_expanded(features, target):
    return (features * features - 2 * features * target + target * target).mean()


def _content_in_place(features, target):
    target -= features.detach()
    return target.square().mean() if not features.requires_grad else (features - target).square().mean()


content_loss = Hidden(
    cases=[
        Case("one image", features=normal(1, 3, 2, 5), target=normal(1, 3, 2, 5)),
        Case("one map", features=normal(3, 1, 4, 2), target=normal(3, 1, 4, 2)),
        Case("one position", features=normal(4, 6, 1, 1), target=normal(4, 6, 1, 1)),
        Case("a single row", features=normal(2, 3, 1, 7), target=normal(2, 3, 1, 7)),
        Case("equal maps", features=normal(2, 2, 3, 3, std=0.0), target=normal(2, 2, 3, 3, std=0.0)),
        Case("maps of 10,000", features=normal(2, 3, 4, 5, std=1e4), target=normal(2, 3, 4, 5, std=1e4)),
        Case("maps close to 0", features=normal(2, 3, 4, 5, std=1e-2), target=normal(2, 3, 4, 5, std=1e-2)),
        Case("non-contiguous", features=normal(2, 4, 3, 5), target=normal(2, 4, 3, 5)).strided(),
        Case("float32", features=normal(3, 2, 5, 4), target=normal(3, 2, 5, 4)).float32(),
        Case("target of zeros", features=normal(2, 3, 2, 4), target=normal(2, 3, 2, 4, std=0.0)),
    ],
    mutants={
        "returns a number": lambda features, target: (features - target).square().mean().item(),
        "is cut off from features": lambda features, target: (features.detach() - target).square().mean(),
        "returns a list": lambda features, target: [(features - target).square().mean()],
        "returns nothing": lambda features, target: None,
        "changes target": _content_in_place,
        "adds instead of subtracting": lambda features, target: (features + target).square().mean(),
        "keeps an axis": lambda features, target: (features - target).square().mean((1, 2, 3)),
        "opposite sign": lambda features, target: -(features - target).square().mean(),
        "compares the first images only": lambda features, target: (features[:1] - target[:1]).square().mean(),
        "takes the largest difference": lambda features, target: (features - target).square().amax(),
        "divides by C H W and N squared": lambda features, target: (features - target).square().mean() / len(target),
        "divides by the target": lambda features, target: (features - target).square().mean() / target.square().mean(),
        "gradient of the target's part is missing": lambda features, target: (
            (features - target).square().mean().detach() + features.square().mean() - features.square().mean().detach()
        ),
        "flattens by view": lambda features, target: (features.view(-1) - target.view(-1)).square().mean(),
    },
    solutions={
        "map by map": _content_by_loop,
        "a scalar product": _content_by_norm,
        "in float32": _content_in_float32,
        "the square written out": _content_expanded,
    },
    equivalent={"content_loss: features - target -> target - features": "the difference is squared"},
)


# Total variation.


def _tv_by_loop(images):
    total = images.sum() * 0
    N, _, H, W = images.shape
    for i in range(H):
        for j in range(W):
            if i + 1 < H:
                total = total + (images[:, :, i + 1, j] - images[:, :, i, j]).square().sum()
            if j + 1 < W:
                total = total + (images[:, :, i, j + 1] - images[:, :, i, j]).square().sum()
    return total / N


def _tv_by_roll(images):
    H, W = images.shape[2:]
    right = (images.roll(-1, 3) - images)[:, :, :, : W - 1]
    below = (images.roll(-1, 2) - images)[:, :, : H - 1]
    return right.square().sum((1, 2, 3)).mean() + below.square().sum((1, 2, 3)).mean()


def _tv_in_float32(images):
    images = images.float()
    steps = torch.cat([torch.diff(images, dim=axis).flatten(1) for axis in (2, 3)], dim=1)
    return (steps * steps).sum(1).mean()


def _tv_in_place(images):
    images[:, :, 1:] -= images[:, :, :-1].clone()
    return images.square().sum()


def _tv_of(across, down):
    return lambda images: (across(images).square().sum() + down(images).square().sum()) / len(images)


def _right(images):
    return images[:, :, :, 1:] - images[:, :, :, :-1]


def _below(images):
    return images[:, :, 1:] - images[:, :, :-1]


tv_loss = Hidden(
    cases=[
        Case("one image", images=uniform(1, 3, 3, 7)),
        Case("one channel", images=uniform(4, 1, 5, 2)),
        Case("a single row", images=uniform(2, 3, 1, 6)),
        Case("a single column", images=uniform(2, 3, 5, 1)),
        Case("two pixels", images=uniform(1, 1, 1, 2)),
        Case("the same colour everywhere", images=normal(2, 3, 4, 5, mean=0.5, std=0.0)),
        Case("pixels of 10,000", images=normal(2, 3, 4, 5, std=1e4)),
        Case("non-contiguous", images=uniform(3, 2, 5, 4)).strided(),
        Case("float32", images=uniform(2, 3, 6, 5)).float32(),
        Case("as many images as channels and pixels", images=uniform(3, 3, 3, 3)),
        Case("a chequerboard", images=given([[[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]])),
        Case("axes of 2 to 7", images=normal(2, 4, 7, 3)),
    ],
    mutants={
        "returns a number": lambda images: (_right(images).square().sum() + _below(images).square().sum()).item(),
        "is cut off from images": lambda images: _tv_of(_right, _below)(images.detach()),
        "returns nothing": lambda images: None,
        "changes images": _tv_in_place,
        "steps of two": _tv_of(lambda x: x[..., 2:] - x[..., :-2], lambda x: x[:, :, 2:] - x[:, :, :-2]),
        "compares neighbours on the diagonal": _tv_of(
            lambda x: x[:, :, 1:, 1:] - x[:, :, :-1, :-1], lambda x: x[:, :, 1:, :-1] - x[:, :, :-1, 1:]
        ),
        "takes the same axis twice": _tv_of(_right, _right),
        "compares images with each other": _tv_of(_right, lambda x: x[1:] - x[:-1]),
        "looks at the first channel only": lambda images: _tv_of(_right, _below)(images[:, :1]),
        "subtracts one direction": lambda images: (
            (_right(images).square().sum() - _below(images).square().sum()) / len(images)
        ),
        "keeps the images apart": lambda images: _right(images).square().sum((1, 2, 3)),
        "divides by the number of rows": lambda images: _tv_of(_right, _below)(images) / images.shape[2],
        "root of each step": lambda images: (
            (_right(images)[:, :, :-1].square() + _below(images)[..., :-1].square() + 1e-12).sqrt().sum() / len(images)
        ),
        "divides by the number of images twice": lambda images: _tv_of(_right, _below)(images) / len(images),
    },
    solutions={
        "pixel by pixel": _tv_by_loop,
        "by roll": _tv_by_roll,
        "in float32, by diff": _tv_in_float32,
    },
    equivalent={
        f"tv_loss: {one} - {other} -> {other} - {one}": "the difference is squared"
        for one, other in (
            ("images[:, :, :, 1:]", "images[:, :, :, :-1]"),
            ("images[:, :, 1:, :]", "images[:, :, :-1, :]"),
        )
    },
)
