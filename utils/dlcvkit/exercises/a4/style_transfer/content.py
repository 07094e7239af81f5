"""The content loss and total variation: losses of maps and of pixels."""

from __future__ import annotations

from torch.nn import functional

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Mistake, given, normal, uniform
from dlcvkit.exercises.a4.style_transfer.differentiable import differentiated, with_gradient


def _content(name, variant, hint):
    return Mistake(name, differentiated(variant, "features"), hint)


def _call_content_loss(content_loss, **inputs):
    return with_gradient(content_loss, "features", **inputs)


content_loss = Function(
    functions=("content_loss",),
    reference=differentiated(lambda features, target: functional.mse_loss(features, target), "features"),
    call=_call_content_loss,
    cases=[
        Case("two images, three maps of 4×5", features=normal(2, 3, 4, 5), target=normal(2, 3, 4, 5)),
        Case("one image, five maps of 3×2", features=normal(1, 5, 3, 2, mean=2.0), target=normal(1, 5, 3, 2)),
    ],
    points={"loss": 2, "gradient": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _content(
            "adds the squares up instead of averaging",
            lambda features, target: functional.mse_loss(features, target, reduction="sum"),
            hint="the loss is a mean over all entries, so that it means the same at any size",
        ),
        _content(
            "takes half of the squares",
            lambda features, target: functional.mse_loss(features, target) / 2,
            hint="the formula above has no factor one half",
        ),
        _content(
            "takes half of the sum of squares",
            lambda features, target: functional.mse_loss(features, target, reduction="sum") / 2,
            hint="that is another paper's convention; here it is a mean without a factor one half",
        ),
        _content(
            "averages over the images alone",
            lambda features, target: functional.mse_loss(features, target, reduction="sum") / len(features),
            hint="channels and positions are averaged over as well",
        ),
        _content(
            "averages over the positions but adds up over images and channels",
            lambda features, target: ((features - target) ** 2).mean((2, 3)).sum(),
            hint="the mean runs over all four axes",
        ),
        _content(
            "averages over each image but adds the images up",
            lambda features, target: ((features - target) ** 2).mean((1, 2, 3)).sum(),
            hint="the mean runs over all four axes, that of the images included",
        ),
        _content(
            "takes absolute differences",
            lambda features, target: functional.l1_loss(features, target),
            hint="differences are squared",
        ),
        _content(
            "takes the root of the mean",
            lambda features, target: functional.mse_loss(features, target).sqrt(),
            hint="no root is taken: the loss itself is the mean square",
        ),
        _content(
            "squares the mean difference",
            lambda features, target: (features - target).mean() ** 2,
            hint="square each entry first, then average; otherwise differences of opposite sign cancel",
        ),
        _content(
            "compares what is left after averaging over positions",
            lambda features, target: functional.mse_loss(features.mean((2, 3)), target.mean((2, 3))),
            hint="content is *where* things are: each position is compared with the same position",
        ),
        _content(
            "leaves the target out",
            lambda features, target: (features**2).mean(),
            hint="which two things are compared?",
        ),
    ],
)


def _tv(name, variant, hint):
    return Mistake(name, differentiated(variant, "images"), hint)


def _across(images):
    return images.diff(dim=3)


def _down(images):
    return images.diff(dim=2)


def _squares(*steps):
    return sum((step**2).sum() for step in steps)


def _variation(images):
    return _squares(_across(images), _down(images)) / len(images)


def _inner(images):
    """Only pixels that have a neighbour on the right and one below."""
    return images[:, :, :-1, 1:] - images[:, :, :-1, :-1], images[:, :, 1:, :-1] - images[:, :, :-1, :-1]


def _with_zeros_around(images):
    return _squares(_across(functional.pad(images, (0, 1, 0, 1))), _down(functional.pad(images, (0, 1, 0, 1))))


def _call_tv_loss(tv_loss, **inputs):
    return with_gradient(tv_loss, "images", **inputs)


tv_loss = Function(
    functions=("tv_loss",),
    reference=differentiated(_variation, "images"),
    call=_call_tv_loss,
    cases=[
        Case("two images of 4×6", images=uniform(2, 3, 4, 6)),
        Case("one image of 5×3", images=uniform(1, 3, 5, 3)),
        Case("a step from 0 to 1", images=given([[[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]])),
    ],
    points={"loss": 2, "gradient": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _tv(
            "compares neighbours in a row only",
            lambda images: _squares(_across(images)) / len(images),
            hint="a pixel has a neighbour on the right and one below",
        ),
        _tv(
            "compares neighbours in a column only",
            lambda images: _squares(_down(images)) / len(images),
            hint="a pixel has a neighbour on the right and one below",
        ),
        _tv(
            "lets the border wrap round",
            lambda images: _squares(images - images.roll(1, 2), images - images.roll(1, 3)) / len(images),
            hint="the last column has no right neighbour; the first column is not next to it",
        ),
        _tv(
            "leaves out pixels of the last row or column that do have a neighbour",
            lambda images: _squares(*_inner(images)) / len(images),
            hint="the two differences have different shapes: (H, W-1) and (H-1, W)",
        ),
        _tv(
            "puts zeros around the image",
            lambda images: _with_zeros_around(images) / len(images),
            hint="pixels of the border have fewer neighbours; nothing is outside",
        ),
        _tv(
            "adds absolute differences up",
            lambda images: (_across(images).abs().sum() + _down(images).abs().sum()) / len(images),
            hint="here the differences are squared",
        ),
        _tv(
            "adds absolute differences up, over the images as well",
            lambda images: _across(images).abs().sum() + _down(images).abs().sum(),
            hint="here the differences are squared, and images are averaged over",
        ),
        _tv(
            "averages over pixels instead of adding up",
            lambda images: (_across(images) ** 2).mean() + (_down(images) ** 2).mean(),
            hint="squares are added up over channels and pixels; only images are averaged over",
        ),
        _tv(
            "divides by the number of entries",
            lambda images: _squares(_across(images), _down(images)) / images.numel(),
            hint="squares are added up over channels and pixels; only images are averaged over",
        ),
        _tv(
            "adds up over the images",
            lambda images: _squares(_across(images), _down(images)),
            hint="the loss is a mean over the N images",
        ),
        _tv(
            "averages over the channels",
            lambda images: _variation(images) / images.shape[1],
            hint="squares are added up over the channels",
        ),
        _tv(
            "takes half of it",
            lambda images: _variation(images) / 2,
            hint="there is no factor one half: each pair of neighbours counts once, with factor 1",
        ),
        _tv(
            "counts each pair of neighbours twice",
            lambda images: _variation(images) * 2,
            hint="right and below is enough: left and above are the same pairs once more",
        ),
        _tv(
            "takes a root",
            lambda images: _variation(images).sqrt(),
            hint="no root is taken of the sum of squares",
        ),
        _tv(
            "squares the sum instead of adding up squares",
            lambda images: (_across(images).sum() ** 2 + _down(images).sum() ** 2) / len(images),
            hint="square each difference first, then add up",
        ),
        _tv(
            "compares the colour channels with each other",
            lambda images: _squares(images.diff(dim=1), _across(images), _down(images)) / len(images),
            hint="neighbours are compared within a channel; axis 1 is left alone",
        ),
    ],
)
