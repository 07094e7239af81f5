"""The multiclass SVM loss, with loops and without."""

from __future__ import annotations

from torch.nn.functional import multi_margin_loss

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, LossWithGradient, Mistake, Speed, given, labels, normal

from .penalised_losses import SPEED_CASE, given_labels, image_by_image, penalised, penalty_mistakes, with_gradient_of


def _hinge(W, X, y, delta=1.0, squared=False):
    power = 2 if squared else 1
    return W.shape[1] / len(X) * multi_margin_loss(X @ W, y, p=power, margin=delta, reduction="sum")


def _hinge_of(change, *, clamp=True):
    """The hinge loss with its margins (N, K), zero at the true class, changed by ``change(scores, y, delta)``."""

    def loss(W, X, y, delta=1.0, squared=False):
        violations = change(X @ W, y, delta)
        violations = violations.clamp(min=0) if clamp else violations
        return (violations**2 if squared else violations).sum() / len(X)

    return loss


def _margins(scores, y, delta, *, own=None):
    own = scores.gather(1, y[:, None]) if own is None else own
    return (scores - own + delta).scatter(1, y[:, None], 0.0)


_hinge_of_others = _hinge_of(
    lambda scores, y, delta: _margins(scores, y, delta, own=scores.gather(1, y[:, None]).detach())
)


def _own_counted_once(W, X, y, delta=1.0, squared=False):
    once = _hinge_of_others(W, X, y, delta, squared) - (X @ W).gather(1, y[:, None]).mean()
    return with_gradient_of(_hinge(W, X, y, delta, squared), once)


def _squared_half_gradient(W, X, y, delta=1.0, squared=False):
    value = _hinge(W, X, y, delta, squared)
    return with_gradient_of(value, value / 2) if squared else value


def _squared_with_plain_gradient(W, X, y, delta=1.0, squared=False):
    return with_gradient_of(_hinge(W, X, y, delta, squared), _hinge(W, X, y, delta, False))


_SVM_MISTAKES = [
    Mistake(
        "counts the true class as well",
        penalised(_hinge_of(lambda scores, y, delta: scores - scores.gather(1, y[:, None]) + delta)),
        hint="the true class is not compared with itself: its margin would always be delta",
    ),
    Mistake(
        "takes delta to be 1",
        penalised(lambda W, X, y, delta=1.0, squared=False: _hinge(W, X, y, 1.0, squared)),
        hint="the margin asked for is an argument",
    ),
    Mistake(
        "leaves delta out",
        penalised(_hinge_of(lambda scores, y, delta: _margins(scores, y, 0.0))),
        hint="the true class has to win by delta, not just to win",
    ),
    Mistake(
        "subtracts delta",
        penalised(_hinge_of(lambda scores, y, delta: _margins(scores, y, -delta))),
        hint="a class that comes closer than delta costs something, even if it loses",
    ),
    Mistake(
        "ignores squared",
        penalised(lambda W, X, y, delta=1.0, squared=False: _hinge(W, X, y, delta, False)),
        hint="with squared=True every violated margin is squared before it is added",
    ),
    Mistake(
        "always squares",
        penalised(lambda W, X, y, delta=1.0, squared=False: _hinge(W, X, y, delta, True)),
        hint="margins are squared only with squared=True",
    ),
    Mistake(
        "subtracts the other class's score from the true one's",
        penalised(
            _hinge_of(lambda scores, y, delta: (2 * delta - _margins(scores, y, delta)).scatter(1, y[:, None], 0.0))
        ),
        hint="a high score of a wrong class is what costs something",
    ),
    Mistake(
        "lets satisfied margins count",
        penalised(_hinge_of(_margins, clamp=False)),
        hint="a margin that is met costs nothing; it does not earn anything either",
    ),
    Mistake(
        "averages over the classes as well",
        penalised(lambda W, X, y, **options: _hinge(W, X, y, **options) / W.shape[1]),
        hint="the margins of one image are added up; only images are averaged over",
    ),
    Mistake(
        "looks at the worst class only",
        penalised(
            lambda W, X, y, delta=1.0, squared=False: (
                _margins(X @ W, y, delta).clamp(min=0).amax(1) ** (2 if squared else 1)
            ).mean()
        ),
        hint="every wrong class that comes too close counts, not the worst alone",
    ),
    Mistake(
        "leaves the true class out of the gradient",
        penalised(_hinge_of_others),
        hint="the true class's score stands in every margin of its image, so its column of W gets a gradient too",
    ),
    Mistake(
        "counts the true class once per image in the gradient",
        penalised(_own_counted_once),
        hint="the true class's column gets a contribution for every violated margin of the image",
    ),
    Mistake(
        "lacks the factor two in the gradient of the square",
        penalised(_squared_half_gradient),
        hint="apply the chain rule to the square of a margin",
    ),
    Mistake(
        "gives the gradient of the plain hinge loss with squared=True",
        penalised(_squared_with_plain_gradient),
        hint="apply the chain rule to the square of a margin: how much it is violated matters now",
    ),
]

_SVM_CASES = [
    Case("five images, four classes", W=normal(6, 4, std=0.6), X=normal(5, 6), y=labels(5, 4), reg=0.3),
    Case(
        "scores 13, -7, 11",
        W=given([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        X=given([[13.0, -7.0, 11.0]]),
        y=given_labels(0),
        reg=0.0,
        delta=10.0,
    ),
    Case(
        "squared hinge, delta = 2",
        W=normal(3, 5, std=0.6),
        X=normal(4, 3),
        y=labels(4, 5),
        reg=0.1,
        delta=2.0,
        squared=True,
    ),
]

svm_naive = LossWithGradient(
    functions=("svm_loss_naive",),
    reference=penalised(_hinge),
    cases=_SVM_CASES,
    points={"loss": 2, "dW": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[*_SVM_MISTAKES, *penalty_mistakes(_hinge)],
)

svm_vectorized = LossWithGradient(
    functions=("svm_loss_vectorized",),
    reference=penalised(_hinge),
    cases=_SVM_CASES,
    points={"loss": 2, "dW": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    is_loop_free=True,
    mistakes=[*_SVM_MISTAKES, *penalty_mistakes(_hinge)],
    speed=Speed(image_by_image(_hinge), factor=8, case=SPEED_CASE),
)
