"""Softmax and multiclass SVM as functions of scores."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, multi_margin_loss

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, LossWithGradient, Mistake, given, labels, normal

_NO_READY_MADE_SUM = frozenset({"logsumexp", "special_logsumexp", "logcumsumexp"})


def _label(*values):
    return given(list(values), dtype=torch.int64)


def with_gradient_of(value, other):
    """The number of ``value``, the gradient of ``other``."""
    return value.detach() + other - other.detach()


def _own(scores, y):
    return scores.gather(1, y[:, None])


def _likelihood_of(log_probabilities):
    """Minus the mean of one log-probability per image, out of ``log_probabilities(scores)`` of shape (N, K)."""
    return lambda scores, y: -_own(log_probabilities(scores), y).mean()


def _shifted_by_one_number(scores, y):
    shifted = scores - scores.max()
    return (shifted.exp().sum(1).log() - _own(shifted, y)[:, 0]).mean()


def _shifted_in_the_sum_only(scores, y):
    shifted = scores - scores.amax(1, keepdim=True).detach()
    return (shifted.logsumexp(1) - _own(scores, y)[:, 0]).mean()


def _average_mistakes(loss):
    return [
        Mistake(
            "adds up over the images instead of averaging",
            lambda scores, y: len(scores) * loss(scores, y),
            hint="the loss is a mean over the N images, and so is its gradient",
        ),
        Mistake(
            "averages the loss but not its gradient",
            lambda scores, y: with_gradient_of(loss(scores, y), len(scores) * loss(scores, y)),
            hint="dscores is the gradient of the mean: the factor 1/N is in it too",
        ),
        Mistake(
            "averages the gradient but not the loss",
            lambda scores, y: with_gradient_of(len(scores) * loss(scores, y), loss(scores, y)),
            hint="the loss is a mean over the N images",
        ),
        Mistake(
            "averages over the classes as well",
            lambda scores, y: loss(scores, y) / scores.shape[1],
            hint="an image's loss is not divided by the number of classes; only images are averaged over",
        ),
        Mistake(
            "divides the gradient by the number of images twice",
            lambda scores, y: with_gradient_of(loss(scores, y), loss(scores, y) / len(scores)),
            hint="divide by the number of images once",
        ),
        Mistake(
            "returns the gradient with the opposite sign",
            lambda scores, y: with_gradient_of(loss(scores, y), -loss(scores, y)),
            hint="raising the true class's score lowers the loss, so its gradient is negative",
        ),
    ]


softmax_loss = LossWithGradient(
    functions=("softmax_loss",),
    reference=lambda scores, y: cross_entropy(scores, y),
    wrt="scores",
    cases=[
        Case("five images, four classes", scores=normal(5, 4, std=1.5), y=labels(5, 4)),
        Case("more classes than images", scores=normal(3, 7), y=labels(3, 7)),
        Case("a score of 10,000", scores=given([[1e4, -1e4, 5.0], [2.0, 0.0, 1.0]]), y=_label(2, 0)),
    ],
    points={"loss": 3, "dscores": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD | _NO_READY_MADE_SUM,
    mistakes=[
        Mistake(
            "takes the exponential of scores that are too large, or the logarithm of zero",
            _likelihood_of(lambda scores: (scores.exp() / scores.exp().sum(1, keepdim=True)).log()),
            hint="subtract the largest score of each image first, and write log p as a difference, without dividing",
        ),
        Mistake(
            "shifts all images by the same number",
            _shifted_by_one_number,
            hint="each image has a largest score of its own",
        ),
        Mistake(
            "hides the logarithm of zero behind a small number",
            _likelihood_of(lambda scores: (scores.softmax(1) + 1e-8).log()),
            hint="write log p as the shifted score minus the logarithm of the sum: nothing can become zero there",
        ),
        Mistake(
            "shifts the scores in the sum but not in the numerator",
            _shifted_in_the_sum_only,
            hint="the shift cancels only if it is made everywhere",
        ),
        Mistake(
            "normalises over the images instead of the classes",
            _likelihood_of(lambda scores: scores.log_softmax(0)),
            hint="the probabilities of one image, a row of the scores, add up to 1",
        ),
        Mistake(
            "normalises over all images and classes together",
            _likelihood_of(lambda scores: scores.flatten().log_softmax(0).reshape(scores.shape)),
            hint="the probabilities of one image, a row of the scores, add up to 1",
        ),
        Mistake(
            "has the sign of the logarithm wrong",
            lambda scores, y: -cross_entropy(scores, y),
            hint="probabilities are below 1, so their logarithms are negative and the loss is positive",
        ),
        Mistake(
            "leaves the logarithm out",
            _likelihood_of(lambda scores: scores.softmax(1)),
            hint="the loss is minus the logarithm of the true class's probability",
        ),
        Mistake(
            "takes the logarithm of the mean probability",
            lambda scores, y: -_own(scores.softmax(1), y).mean().log(),
            hint="take the logarithm for each image, then average",
        ),
        Mistake(
            "adds up over all classes",
            lambda scores, y: -scores.log_softmax(1).sum() / len(scores),
            hint="only the probability of the true class enters the loss",
        ),
        Mistake(
            "looks at the class with the largest score instead of the true one",
            lambda scores, y: (scores.logsumexp(1) - scores.amax(1)).mean(),
            hint="y says which probability enters the loss",
        ),
        Mistake(
            "does not subtract 1 at the true class in the gradient",
            lambda scores, y: with_gradient_of(cross_entropy(scores, y), scores.logsumexp(1).mean()),
            hint="the true score stands in the loss twice: in the sum, and alone with a minus",
        ),
        Mistake(
            "gives a gradient at the true class only",
            lambda scores, y: with_gradient_of(
                cross_entropy(scores, y), (_own(scores, y) * (_own(scores.softmax(1), y) - 1).detach()).mean()
            ),
            hint="every class's score stands in the sum that the probabilities are divided by",
        ),
        *_average_mistakes(cross_entropy),
    ],
)


def hinge(scores, y):
    """The multiclass SVM loss with margin 1."""
    return scores.shape[1] / len(scores) * multi_margin_loss(scores, y, reduction="sum")


def _hinge_of(change, *, clamp=True):
    """The hinge loss with its margins (N, K) made by ``change(scores, y)``."""

    def loss(scores, y):
        margins = change(scores, y)
        return (margins.clamp(min=0) if clamp else margins).sum() / len(scores)

    return loss


def _margins(scores, y, *, delta=1.0, own=None):
    """Margins with 0 at the true class."""
    own = _own(scores, y) if own is None else own
    return (scores - own + delta).scatter(1, y[:, None], 0.0)


_hinge_of_others = _hinge_of(lambda scores, y: _margins(scores, y, own=_own(scores, y).detach()))


svm_loss = LossWithGradient(
    functions=("svm_loss",),
    reference=hinge,
    wrt="scores",
    cases=[
        Case("five images, four classes", scores=normal(5, 4, std=1.5), y=labels(5, 4)),
        Case("more classes than images", scores=normal(3, 7), y=labels(3, 7)),
        Case(
            "losses 3, 0 and 2.5",
            scores=given([[1.0, 3.0, -2.0], [0.5, 4.0, 2.0], [2.5, 2.5, 2.25]]),
            y=_label(0, 1, 2),
        ),
    ],
    points={"loss": 2, "dscores": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "counts the true class as well",
            _hinge_of(lambda scores, y: scores - _own(scores, y) + 1),
            hint="the true class is not compared with itself: its margin would always be 1",
        ),
        Mistake(
            "leaves the margin out",
            _hinge_of(lambda scores, y: _margins(scores, y, delta=0.0)),
            hint="the true class has to win by 1, not just to win",
        ),
        Mistake(
            "subtracts the margin",
            _hinge_of(lambda scores, y: _margins(scores, y, delta=-1.0)),
            hint="a class that comes closer than 1 costs something, even if it loses",
        ),
        Mistake(
            "subtracts the other class's score from the true one's",
            _hinge_of(lambda scores, y: (2 - _margins(scores, y)).scatter(1, y[:, None], 0.0)),
            hint="a high score of a wrong class is what costs something",
        ),
        Mistake(
            "lets satisfied margins count",
            _hinge_of(_margins, clamp=False),
            hint="a margin that is met costs nothing; it does not earn anything either",
        ),
        Mistake(
            "squares the margins",
            lambda scores, y: (_margins(scores, y).clamp(min=0) ** 2).sum() / len(scores),
            hint="violated margins are added up as they are",
        ),
        Mistake(
            "looks at the worst class only",
            lambda scores, y: _margins(scores, y).clamp(min=0).amax(1).mean(),
            hint="every wrong class that comes too close counts, not the worst alone",
        ),
        Mistake(
            "leaves the true class out of the gradient",
            _hinge_of_others,
            hint="the true class's score stands in every margin of its image, so it gets a gradient too",
        ),
        Mistake(
            "counts the true class once per image in the gradient",
            lambda scores, y: with_gradient_of(hinge(scores, y), _hinge_of_others(scores, y) - _own(scores, y).mean()),
            hint="the true class's score gets a contribution for every violated margin of its image",
        ),
        Mistake(
            "counts the true class's own margin in the gradient",
            lambda scores, y: with_gradient_of(hinge(scores, y), hinge(scores, y) - _own(scores, y).mean()),
            hint="the true class's own margin is no violation: is it out of the way before you count?",
        ),
        Mistake(
            "weights the gradient by the size of the violation",
            lambda scores, y: with_gradient_of(
                hinge(scores, y), (_margins(scores, y).clamp(min=0) ** 2).sum() / (2 * len(scores))
            ),
            hint="a violated margin has slope 1, however large it is",
        ),
        *_average_mistakes(hinge),
    ],
)
