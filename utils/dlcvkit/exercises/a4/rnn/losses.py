"""The loss of a sequence of words."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, LossWithGradient, Mistake, given, integers, normal


def _penalties(x, y):
    """The cross-entropy of each step, shape (N, T)."""
    return functional.cross_entropy(x.transpose(1, 2), y, reduction="none")


def _loss(x, y, mask):
    return (_penalties(x, y) * mask).sum() / len(x)


def _gradient(x, y, mask, loss=_loss):
    variable = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(loss(variable, y, mask), variable)[0]


def _right_loss(change):
    """The right loss, with a gradient that ``change(dx, x, y, mask)`` spoils."""

    def variant(x, y, mask):
        return _loss(x, y, mask).detach(), change(_gradient(x, y, mask), x.detach(), y, mask)

    return variant


def _in_powers(x, y, mask):
    """Exponentials of the scores as they are, which overflow."""
    powers = x.exp()
    chosen = powers.gather(2, y[..., None])[..., 0] / powers.sum(2)
    return (-chosen.log() * mask).sum() / len(x)


def _without_target(dx, x, y, mask):
    return x.softmax(2) * mask[..., None] / len(x)


ROWS_PADDED = given([[True, True, False, False], [False] * 4, [True] * 4, [True, False, False, False]], torch.bool)

temporal_softmax_loss = LossWithGradient(
    functions=("temporal_softmax_loss",),
    reference=_loss,
    wrt="x",
    cases=[
        Case(
            "4 sequences of different lengths, one of them empty",
            x=normal(4, 4, 5),
            y=integers(4, 4, high=5),
            mask=ROWS_PADDED,
        ),
        Case(
            "nothing is padded",
            x=normal(2, 3, 4),
            y=integers(2, 3, high=4),
            mask=given([[True] * 3] * 2, torch.bool),
        ),
        Case(
            "scores of 10,000",
            x=normal(2, 3, 3, std=1e4),
            y=integers(2, 3, high=3),
            mask=given([[True] * 3, [True, True, False]], torch.bool),
        ),
    ],
    points={"loss": 2, "dx": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "counts the padded steps as well",
            lambda x, y, mask: _penalties(x, y).sum() / len(x),
            hint="steps where the mask is False take no part",
        ),
        Mistake(
            "counts the padded steps only",
            lambda x, y, mask: (_penalties(x, y) * ~mask).sum() / len(x),
            hint="the mask is True where there is a word to predict",
        ),
        Mistake(
            "takes the mean over steps as well",
            lambda x, y, mask: _loss(x, y, mask) / x.shape[1],
            hint="sum over the steps, mean over the batch: what do you divide by?",
        ),
        Mistake(
            "takes the mean over the steps that are not masked",
            lambda x, y, mask: _loss(x, y, mask) * len(x) / mask.sum(),
            hint="sum over the steps, mean over the batch: what do you divide by?",
        ),
        Mistake(
            "takes the sum over the batch",
            lambda x, y, mask: _loss(x, y, mask) * len(x),
            hint="sum over the steps, mean over the batch",
        ),
        Mistake(
            "leaves empty sequences out of the mean",
            lambda x, y, mask: _loss(x, y, mask) * len(x) / mask.any(1).sum(),
            hint="the mean is over all N sequences of the batch, those that are padding from end to end included",
        ),
        Mistake(
            "overflows",
            _in_powers,
            hint="exp of a large score is infinite: subtract something from all scores of a step first",
        ),
        Mistake(
            "takes the softmax over the steps",
            lambda x, y, mask: -(x.log_softmax(1).gather(2, y[..., None])[..., 0] * mask).sum() / len(x),
            hint="at each step the probabilities of the V words add up to 1: along which axis is that?",
        ),
        Mistake(
            "sets masked scores to 0 instead of leaving the steps out",
            lambda x, y, mask: _penalties(x * mask[..., None], y).sum() / len(x),
            hint="a step with equal scores still has the loss log V: mask the losses, not the scores",
        ),
        Mistake(
            "does not mask the gradient",
            _right_loss(lambda dx, x, y, mask: _gradient(x, y, torch.ones_like(mask))),
            hint="a step without loss has the gradient 0",
        ),
        Mistake(
            "leaves the right words out of the gradient",
            _right_loss(_without_target),
            hint="the gradient of a step is the probabilities, minus what?",
        ),
        Mistake(
            "masks the probabilities but not the right words",
            _right_loss(
                lambda dx, x, y, mask: (
                    dx + (_gradient(x, y, torch.ones_like(mask)) - x.softmax(2) / len(x)) * ~mask[..., None]
                )
            ),
            hint="at a padded step the whole gradient is 0, the entry of the right word included",
        ),
        Mistake(
            "does not divide the gradient",
            _right_loss(lambda dx, x, y, mask: dx * len(x)),
            hint="the loss is divided by the size of the batch, and so is its gradient",
        ),
        Mistake(
            "has the wrong sign",
            _right_loss(lambda dx, x, y, mask: -dx),
            hint="the right word's score should rise: what sign must its gradient have?",
        ),
    ],
)
