"""The softmax loss, with loops and without."""

from __future__ import annotations

from torch.nn.functional import cross_entropy

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, LossWithGradient, Mistake, Speed, given, labels, normal

from .penalised_losses import SPEED_CASE, given_labels, image_by_image, penalised, penalty_mistakes, with_gradient_of


def _cross_entropy(W, X, y):
    return cross_entropy(X @ W, y)


def _likelihood_of(log_probabilities):
    """Minus the mean of one log-probability per image, out of ``log_probabilities(scores)`` of shape (N, K)."""
    return lambda W, X, y: -log_probabilities(X @ W).gather(1, y[:, None]).mean()


def _without_true_class(W, X, y):
    scores = X @ W
    return (scores.logsumexp(1) - scores.gather(1, y[:, None])[:, 0].detach()).mean()


def _shifted_by_one_number(W, X, y):
    shifted = X @ W - (X @ W).max()
    return (shifted.exp().sum(1).log() - shifted.gather(1, y[:, None])[:, 0]).mean()


def _shifted_in_the_sum_only(W, X, y):
    scores = X @ W
    shifted = scores - scores.amax(1, keepdim=True).detach()
    return (shifted.logsumexp(1) - scores.gather(1, y[:, None])[:, 0]).mean()


def _of_the_largest(W, X, y):
    scores = X @ W
    return (scores.logsumexp(1) - scores.amax(1)).mean()


_SOFTMAX_MISTAKES = [
    Mistake(
        "takes the exponential of scores that are too large, or the logarithm of zero",
        penalised(_likelihood_of(lambda scores: (scores.exp() / scores.exp().sum(1, keepdim=True)).log())),
        hint="subtract the largest score of each image first, and write log p as a difference, without dividing",
    ),
    Mistake(
        "shifts all images by the same number",
        penalised(_shifted_by_one_number),
        hint="each image has a largest score of its own",
    ),
    Mistake(
        "hides the logarithm of zero behind a small number",
        penalised(_likelihood_of(lambda scores: (scores.softmax(1) + 1e-8).log())),
        hint="write log p as the shifted score minus the logarithm of the sum: nothing can become zero there",
    ),
    Mistake(
        "shifts the scores in the sum but not in the numerator",
        penalised(_shifted_in_the_sum_only),
        hint="the shift cancels only if it is made everywhere",
    ),
    Mistake(
        "normalises over the images instead of the classes",
        penalised(_likelihood_of(lambda scores: scores.log_softmax(0))),
        hint="the probabilities of one image, a row of the scores, add up to 1",
    ),
    Mistake(
        "normalises over all images and classes together",
        penalised(_likelihood_of(lambda scores: scores.flatten().log_softmax(0).reshape(scores.shape))),
        hint="the probabilities of one image, a row of the scores, add up to 1",
    ),
    Mistake(
        "has the sign of the logarithm wrong",
        penalised(lambda W, X, y: -_cross_entropy(W, X, y)),
        hint="probabilities are below 1, so their logarithms are negative and the loss is positive",
    ),
    Mistake(
        "leaves the logarithm out",
        penalised(lambda W, X, y: 1 - (X @ W).softmax(1).gather(1, y[:, None]).mean()),
        hint="the loss is minus the logarithm of the true class's probability",
    ),
    Mistake(
        "returns minus the mean probability",
        penalised(lambda W, X, y: -(X @ W).softmax(1).gather(1, y[:, None]).mean()),
        hint="the loss is minus the logarithm of the true class's probability",
    ),
    Mistake(
        "takes the logarithm of the mean probability",
        penalised(lambda W, X, y: -(X @ W).softmax(1).gather(1, y[:, None]).mean().log()),
        hint="take the logarithm for each image, then average",
    ),
    Mistake(
        "adds up over all classes",
        penalised(lambda W, X, y: -(X @ W).log_softmax(1).sum() / len(X)),
        hint="only the probability of the true class enters the loss",
    ),
    Mistake(
        "looks at the class with the largest score instead of the true one",
        penalised(_of_the_largest),
        hint="y says which probability enters the loss",
    ),
    Mistake(
        "does not subtract 1 at the true class in the gradient",
        penalised(lambda W, X, y: with_gradient_of(_cross_entropy(W, X, y), _without_true_class(W, X, y))),
        hint="the gradient with respect to the scores is the probabilities, less 1 at the true class",
    ),
]

_SOFTMAX_CASES = [
    Case("five images, four classes", W=normal(6, 4, std=0.6), X=normal(5, 6), y=labels(5, 4), reg=0.3),
    Case("more classes than images", W=normal(2, 5), X=normal(3, 2), y=labels(3, 5), reg=0.05),
    Case(
        "a score of 10,000",
        W=given([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        X=given([[1e4, -1e4, 5.0], [2.0, 0.0, 1.0]]),
        y=given_labels(2, 0),
        reg=0.1,
    ),
]

_NO_READY_MADE_SUM = frozenset({"logsumexp", "special_logsumexp", "logcumsumexp"})

softmax_naive = LossWithGradient(
    functions=("softmax_loss_naive",),
    reference=penalised(_cross_entropy),
    cases=_SOFTMAX_CASES,
    points={"loss": 2, "dW": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD | _NO_READY_MADE_SUM,
    mistakes=[*_SOFTMAX_MISTAKES, *penalty_mistakes(_cross_entropy)],
)

softmax_vectorized = LossWithGradient(
    functions=("softmax_loss_vectorized",),
    reference=penalised(_cross_entropy),
    cases=_SOFTMAX_CASES,
    points={"loss": 2, "dW": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD | _NO_READY_MADE_SUM,
    is_loop_free=True,
    mistakes=[*_SOFTMAX_MISTAKES, *penalty_mistakes(_cross_entropy)],
    speed=Speed(image_by_image(_cross_entropy), factor=8, case=SPEED_CASE),
)
