"""Losses of a linear classifier: the multiclass SVM, softmax, and the gradient by finite differences."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, multi_margin_loss

from dlcvkit.checking import (
    AUTOGRAD,
    TORCH_LAYERS,
    Case,
    Function,
    LossWithGradient,
    Mistake,
    Speed,
    given,
    labels,
    normal,
)


def _label(*values):
    return given(list(values), dtype=torch.int64)


def _with_gradient_of(value, other):
    """The number of ``value``, the gradient of ``other``."""
    return value.detach() + other - other.detach()


def _points(x):
    """Numbers from -1 to 1, one for each entry of ``x``: weights that tell the entries apart."""
    return torch.linspace(-1, 1, x.numel(), dtype=x.dtype, device=x.device).reshape(x.shape)


_FUNCTIONS = {
    "sum of squares": lambda x: (x**2).sum(),
    "sum of cubes": lambda x: (x**3).sum(),
    "weighted sines": lambda x: (_points(x) * x.sin()).sum(),
    "products of neighbours": lambda x: (x[..., 1:] * x[..., :-1] ** 2).sum(),
    "a Python number": lambda x: float((_points(x) * x.exp()).sum()),
    "logarithm of a sum": lambda x: x.exp().sum().log(),
}


def _call_numerical_gradient(numerical_gradient, f, x, h):
    before = x.clone()
    gradient = numerical_gradient(_FUNCTIONS[f], x, h)
    if torch.equal(x, before):
        state = "unchanged"
    else:
        state = "off by rounding" if torch.allclose(x, before, rtol=0, atol=1e-3 * h) else "changed"
    x.copy_(before)  # so that an entry not put back costs its own points only
    return gradient, state


def _value(f, x):
    return torch.as_tensor(_FUNCTIONS[f](x), dtype=x.dtype, device=x.device)


def _quotient(f, x, *, up, down, width):
    """Difference quotient in every entry, from ``f(x + up)`` and ``f(x - down)``."""
    steps = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape)
    values = [_value(f, x + up * step) - _value(f, x - down * step) for step in steps]
    return torch.stack(values).reshape(x.shape) / width


def _centred(f, x, h):
    return _quotient(f, x, up=h, down=h, width=2 * h)


def _never_put_back(f, x, h):
    moved = x.clone()
    quotients = []
    for index in range(x.numel()):
        step = torch.eye(x.numel(), dtype=x.dtype, device=x.device)[index].reshape(x.shape)
        quotients.append((_value(f, moved + h * step) - _value(f, moved - h * step)) / (2 * h))
        moved = moved - h * step
    return torch.stack(quotients).reshape(x.shape), "changed"


numerical_gradient = Function(
    functions=("numerical_gradient",),
    reference=lambda f, x, h: (_centred(f, x, h), "unchanged"),
    call=_call_numerical_gradient,
    cases=[
        Case("sum of cubes, h = 0.5", f="sum of cubes", x=normal(3, 4), h=0.5),
        Case("sines, h = 1e-5", f="weighted sines", x=normal(2, 3, 2), h=1e-5),
        Case("a transposed matrix", f="products of neighbours", x=normal(3, 5), h=0.1).strided(),
    ],
    points={"gradient": 3, "x": 1},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "divides by h instead of by the distance between the two points",
            lambda f, x, h: (2 * _centred(f, x, h), "unchanged"),
            hint="how far apart are the two points at which f is evaluated?",
        ),
        Mistake(
            "does not divide",
            lambda f, x, h: (2 * h * _centred(f, x, h), "unchanged"),
            hint="a slope is a difference of values divided by a distance",
        ),
        Mistake(
            "takes the forward difference",
            lambda f, x, h: (_quotient(f, x, up=h, down=0, width=h), "unchanged"),
            hint="the centred difference evaluates f on both sides of x",
        ),
        Mistake(
            "takes the backward difference",
            lambda f, x, h: (_quotient(f, x, up=0, down=h, width=h), "unchanged"),
            hint="the centred difference evaluates f on both sides of x",
        ),
        Mistake(
            "compares f(x + h) with f(x) and divides by 2h",
            lambda f, x, h: (_quotient(f, x, up=h, down=0, width=2 * h), "unchanged"),
            hint="the centred difference evaluates f on both sides of x",
        ),
        Mistake(
            "subtracts in the wrong order",
            lambda f, x, h: (-_centred(f, x, h), "unchanged"),
            hint="where f rises, the slope is positive",
        ),
        Mistake(
            "ignores h",
            lambda f, x, h: (_centred(f, x, 1e-5), "unchanged"),
            hint="the step is an argument",
        ),
        Mistake(
            "moves all entries at once",
            lambda f, x, h: (
                ((_value(f, x + h) - _value(f, x - h)) / (2 * h)).expand(x.shape).clone(),
                "unchanged",
            ),
            hint="each entry has a slope of its own: move one and leave the others",
        ),
        Mistake(
            "leaves every entry moved when it goes on to the next",
            _never_put_back,
            hint="put the entry back before you move the next one",
        ),
        Mistake(
            "moves the entries of a copy while f is given x itself",
            lambda f, x, h: (torch.zeros_like(x), "unchanged"),
            hint="flatten and reshape copy a tensor with gaps in memory; f has to see the entry that you moved",
        ),
        Mistake(
            "does not put x back exactly",
            lambda f, x, h: (_centred(f, x, h), "off by rounding"),
            hint="adding h and subtracting it again rounds: keep the old number and assign it",
        ),
    ],
)


def _penalised(data):
    """The loss that an exercise asks for: the data loss and ``reg`` times the sum of squares."""
    return lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * (W**2).sum()


def _penalty_mistakes(data):
    return [
        Mistake(
            "leaves the regulariser out",
            lambda W, X, y, reg, **options: data(W, X, y, **options),
            hint="the loss has a part that depends on W alone, and so has its gradient",
        ),
        Mistake(
            "halves the regulariser",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + 0.5 * reg * (W**2).sum(),
            hint="in this stage the regulariser has no factor one half, so its gradient has a factor two",
        ),
        Mistake(
            "divides the regulariser by the number of images",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * (W**2).sum() / len(X),
            hint="average over the images first; the regulariser is added to the average",
        ),
        Mistake(
            "adds the regulariser once per image",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + len(X) * reg * (W**2).sum(),
            hint="add the regulariser once, after the loop or sum over the images",
        ),
        Mistake(
            "takes the norm of W instead of its square",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * W.norm(),
            hint="squares are added up and no root is taken",
        ),
        Mistake(
            "adds up absolute values of W instead of squares",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * W.abs().sum(),
            hint="squares are added up, not absolute values",
        ),
        Mistake(
            "subtracts the regulariser",
            lambda W, X, y, reg, **options: data(W, X, y, **options) - reg * (W**2).sum(),
            hint="large weights cost something: the regulariser makes the loss larger",
        ),
        Mistake(
            "adds up over the images instead of averaging",
            _penalised(lambda W, X, y, **options: len(X) * data(W, X, y, **options)),
            hint="divide by the number of images, before the regulariser is added",
        ),
        Mistake(
            "divides by the number of images twice",
            _penalised(lambda W, X, y, **options: data(W, X, y, **options) / len(X)),
            hint="divide by the number of images once",
        ),
    ]


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
    return _with_gradient_of(_hinge(W, X, y, delta, squared), once)


def _squared_half_gradient(W, X, y, delta=1.0, squared=False):
    value = _hinge(W, X, y, delta, squared)
    return _with_gradient_of(value, value / 2) if squared else value


def _squared_with_plain_gradient(W, X, y, delta=1.0, squared=False):
    return _with_gradient_of(_hinge(W, X, y, delta, squared), _hinge(W, X, y, delta, False))


_SVM_MISTAKES = [
    Mistake(
        "counts the true class as well",
        _penalised(_hinge_of(lambda scores, y, delta: scores - scores.gather(1, y[:, None]) + delta)),
        hint="the true class is not compared with itself: its margin would always be delta",
    ),
    Mistake(
        "takes delta to be 1",
        _penalised(lambda W, X, y, delta=1.0, squared=False: _hinge(W, X, y, 1.0, squared)),
        hint="the margin asked for is an argument",
    ),
    Mistake(
        "leaves delta out",
        _penalised(_hinge_of(lambda scores, y, delta: _margins(scores, y, 0.0))),
        hint="the true class has to win by delta, not just to win",
    ),
    Mistake(
        "subtracts delta",
        _penalised(_hinge_of(lambda scores, y, delta: _margins(scores, y, -delta))),
        hint="a class that comes closer than delta costs something, even if it loses",
    ),
    Mistake(
        "ignores squared",
        _penalised(lambda W, X, y, delta=1.0, squared=False: _hinge(W, X, y, delta, False)),
        hint="with squared=True every violated margin is squared before it is added",
    ),
    Mistake(
        "always squares",
        _penalised(lambda W, X, y, delta=1.0, squared=False: _hinge(W, X, y, delta, True)),
        hint="margins are squared only with squared=True",
    ),
    Mistake(
        "subtracts the other class's score from the true one's",
        _penalised(
            _hinge_of(lambda scores, y, delta: (2 * delta - _margins(scores, y, delta)).scatter(1, y[:, None], 0.0))
        ),
        hint="a high score of a wrong class is what costs something",
    ),
    Mistake(
        "lets satisfied margins count",
        _penalised(_hinge_of(_margins, clamp=False)),
        hint="a margin that is met costs nothing; it does not earn anything either",
    ),
    Mistake(
        "averages over the classes as well",
        _penalised(lambda W, X, y, **options: _hinge(W, X, y, **options) / W.shape[1]),
        hint="the margins of one image are added up; only images are averaged over",
    ),
    Mistake(
        "looks at the worst class only",
        _penalised(
            lambda W, X, y, delta=1.0, squared=False: (
                _margins(X @ W, y, delta).clamp(min=0).amax(1) ** (2 if squared else 1)
            ).mean()
        ),
        hint="every wrong class that comes too close counts, not the worst alone",
    ),
    Mistake(
        "leaves the true class out of the gradient",
        _penalised(_hinge_of_others),
        hint="the true class's score stands in every margin of its image, so its column of W gets a gradient too",
    ),
    Mistake(
        "counts the true class once per image in the gradient",
        _penalised(_own_counted_once),
        hint="the true class's column gets a contribution for every violated margin of the image",
    ),
    Mistake(
        "lacks the factor two in the gradient of the square",
        _penalised(_squared_half_gradient),
        hint="apply the chain rule to the square of a margin",
    ),
    Mistake(
        "gives the gradient of the plain hinge loss with squared=True",
        _penalised(_squared_with_plain_gradient),
        hint="apply the chain rule to the square of a margin: how much it is violated matters now",
    ),
]

_SVM_CASES = [
    Case("five images, four classes", W=normal(6, 4, std=0.6), X=normal(5, 6), y=labels(5, 4), reg=0.3),
    Case(
        "scores 13, -7, 11",
        W=given([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        X=given([[13.0, -7.0, 11.0]]),
        y=_label(0),
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


def _image_by_image(loss):
    """The loss and its gradient, one image at a time: what a vectorised version is timed against."""

    def run(W, X, y, reg):
        with torch.enable_grad():
            variable = W.detach().clone().requires_grad_()
            grads = [torch.autograd.grad(loss(variable, X[i, None], y[i, None]), variable)[0] for i in range(len(X))]
        return torch.stack(grads).mean(0) + 2 * reg * W

    return run


_SPEED_CASE = Case(W=normal(32, 10), X=normal(64, 32), y=labels(64, 10), reg=0.1)

svm_naive = LossWithGradient(
    functions=("svm_loss_naive",),
    reference=_penalised(_hinge),
    cases=_SVM_CASES,
    points={"loss": 2, "dW": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[*_SVM_MISTAKES, *_penalty_mistakes(_hinge)],
)

svm_vectorized = LossWithGradient(
    functions=("svm_loss_vectorized",),
    reference=_penalised(_hinge),
    cases=_SVM_CASES,
    points={"loss": 2, "dW": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    is_loop_free=True,
    mistakes=[*_SVM_MISTAKES, *_penalty_mistakes(_hinge)],
    speed=Speed(_image_by_image(_hinge), factor=8, case=_SPEED_CASE),
)


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
        _penalised(_likelihood_of(lambda scores: (scores.exp() / scores.exp().sum(1, keepdim=True)).log())),
        hint="subtract the largest score of each image first, and write log p as a difference, without dividing",
    ),
    Mistake(
        "shifts all images by the same number",
        _penalised(_shifted_by_one_number),
        hint="each image has a largest score of its own",
    ),
    Mistake(
        "hides the logarithm of zero behind a small number",
        _penalised(_likelihood_of(lambda scores: (scores.softmax(1) + 1e-8).log())),
        hint="write log p as the shifted score minus the logarithm of the sum: nothing can become zero there",
    ),
    Mistake(
        "shifts the scores in the sum but not in the numerator",
        _penalised(_shifted_in_the_sum_only),
        hint="the shift cancels only if it is made everywhere",
    ),
    Mistake(
        "normalises over the images instead of the classes",
        _penalised(_likelihood_of(lambda scores: scores.log_softmax(0))),
        hint="the probabilities of one image, a row of the scores, add up to 1",
    ),
    Mistake(
        "normalises over all images and classes together",
        _penalised(_likelihood_of(lambda scores: scores.flatten().log_softmax(0).reshape(scores.shape))),
        hint="the probabilities of one image, a row of the scores, add up to 1",
    ),
    Mistake(
        "has the sign of the logarithm wrong",
        _penalised(lambda W, X, y: -_cross_entropy(W, X, y)),
        hint="probabilities are below 1, so their logarithms are negative and the loss is positive",
    ),
    Mistake(
        "leaves the logarithm out",
        _penalised(lambda W, X, y: 1 - (X @ W).softmax(1).gather(1, y[:, None]).mean()),
        hint="the loss is minus the logarithm of the true class's probability",
    ),
    Mistake(
        "returns minus the mean probability",
        _penalised(lambda W, X, y: -(X @ W).softmax(1).gather(1, y[:, None]).mean()),
        hint="the loss is minus the logarithm of the true class's probability",
    ),
    Mistake(
        "takes the logarithm of the mean probability",
        _penalised(lambda W, X, y: -(X @ W).softmax(1).gather(1, y[:, None]).mean().log()),
        hint="take the logarithm for each image, then average",
    ),
    Mistake(
        "adds up over all classes",
        _penalised(lambda W, X, y: -(X @ W).log_softmax(1).sum() / len(X)),
        hint="only the probability of the true class enters the loss",
    ),
    Mistake(
        "looks at the class with the largest score instead of the true one",
        _penalised(_of_the_largest),
        hint="y says which probability enters the loss",
    ),
    Mistake(
        "does not subtract 1 at the true class in the gradient",
        _penalised(lambda W, X, y: _with_gradient_of(_cross_entropy(W, X, y), _without_true_class(W, X, y))),
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
        y=_label(2, 0),
        reg=0.1,
    ),
]

_NO_READY_MADE_SUM = frozenset({"logsumexp", "special_logsumexp", "logcumsumexp"})

softmax_naive = LossWithGradient(
    functions=("softmax_loss_naive",),
    reference=_penalised(_cross_entropy),
    cases=_SOFTMAX_CASES,
    points={"loss": 2, "dW": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD | _NO_READY_MADE_SUM,
    mistakes=[*_SOFTMAX_MISTAKES, *_penalty_mistakes(_cross_entropy)],
)

softmax_vectorized = LossWithGradient(
    functions=("softmax_loss_vectorized",),
    reference=_penalised(_cross_entropy),
    cases=_SOFTMAX_CASES,
    points={"loss": 2, "dW": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD | _NO_READY_MADE_SUM,
    is_loop_free=True,
    mistakes=[*_SOFTMAX_MISTAKES, *_penalty_mistakes(_cross_entropy)],
    speed=Speed(_image_by_image(_cross_entropy), factor=8, case=_SPEED_CASE),
)
