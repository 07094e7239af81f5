"""Batch normalisation of images: one mean and variance per channel."""

from __future__ import annotations

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, ForwardBackward, Mistake
from dlcvkit.exercises.a3.normalization.batch import (
    STATE_NAMES,
    batch_norm,
    case,
    evaluation_mistakes,
    spoilt_batch_norm,
    state_mistakes,
)
from dlcvkit.exercises.a3.normalization.variants import changed, shared_mistakes


def _uses(x):
    """How often one gamma is used."""
    return x.numel() // x.shape[1]


def _mixed_axes(x, *rest, **options):
    """The rows of x.reshape(-1, C), whose columns are no channels."""
    out, *state = batch_norm(x.reshape(-1, x.shape[1]), *rest, **options)
    return out.reshape(x.shape), *state


spatial_batchnorm = ForwardBackward(
    functions=("spatial_batchnorm_forward", "spatial_batchnorm_backward"),
    reference=batch_norm,
    cases=[
        case("training, 2×3×4×5", (2, 3, 4, 5), True, mean=-1.0, std=2.0),
        case("evaluation, 3×2×3×1", (3, 2, 3, 1), False, mean=1.0),
        case("training, one image, momentum 0.6, eps 0.3", (1, 4, 3, 2), True, momentum=0.6, eps=0.3),
    ],
    points={"out": 2, "running_mean": 1, "running_var": 1, "dx": 2, "dgamma": 1, "dbeta": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "reshapes to rows without moving the channels to the end",
            lambda **inputs: _mixed_axes(**inputs),
            hint="each row has to hold the C values of one pixel: which axis must come last before the reshape?",
        ),
        Mistake(
            "takes a mean and variance for every image",
            spoilt_batch_norm(dims=(2, 3)),
            hint="that is instance norm; here the images of a batch share their statistics",
        ),
        Mistake(
            "takes a mean and variance for every pixel",
            spoilt_batch_norm(dims=(0,)),
            hint="all pixels of a channel share one mean: a filter means the same everywhere",
        ),
        Mistake(
            "takes one mean and variance for all channels",
            spoilt_batch_norm(dims=(0, 1, 2, 3)),
            hint="every channel has a mean and a variance of its own",
        ),
        *state_mistakes(STATE_NAMES),
        *shared_mistakes(spoilt_batch_norm, count_of=_uses),
        Mistake(
            "averages dgamma and dbeta over the pixels",
            changed(
                batch_norm,
                dgamma=lambda d, given: d / given["x"][0, 0].numel(),
                dbeta=lambda d, given: d / given["x"][0, 0].numel(),
            ),
            hint="one gamma serves all pixels and what flows back adds up",
        ),
        *evaluation_mistakes(),
    ],
)
