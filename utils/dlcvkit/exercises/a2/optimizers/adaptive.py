"""Rules that give every weight a step length of its own: AdaGrad, RMSProp, Adam, AdamW."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Mistake, Stepper, drawn, normal
from dlcvkit.exercises.a2.optimizers.first_order import FALLING, FORBIDDEN, changes_state


def late_gradients(*shape):
    """Describe gradients of ``shape`` that are zero in all but the last entry of every step during the first half."""

    def make(generator):
        gradients = torch.randn(shape, generator=generator, dtype=torch.float64)
        gradients[: shape[0] // 2, ..., :-1] = 0
        return gradients

    return drawn(make)


def _by_squares(w, dw, state, lr, eps, keep, add, *, inside=False, root=True, late=False, grows=None, no_eps=False):
    """Divide by the root of collected squares; each keyword switches a mistake on."""
    before = state.get("squares", torch.zeros_like(w))
    squares = keep * before + add * (dw * dw if grows is None else grows(dw))
    used = before if late else squares
    bottom = used.sqrt() if root else used
    scale = (used + eps).sqrt() if inside else bottom + (0.0 if no_eps else eps)
    return w - lr * dw / scale, {"squares": squares}


def _adagrad(**mistakes):
    return lambda w, dw, state, lr, eps: _by_squares(w, dw, state, lr, eps, 1.0, 1.0, **mistakes)


def _rmsprop(**mistakes):
    return lambda w, dw, state, lr, decay, eps: _by_squares(w, dw, state, lr, eps, decay, 1 - decay, **mistakes)


_ROOT_HINT = "the squares are summed up first, the root is taken of their sum"
_EPS_HINT = "eps is added to the root, not under it"
_NO_EPS_HINT = "a weight that has had no gradient yet divides 0 by 0, unless something keeps the denominator from 0"

adagrad = Stepper(
    functions=("adagrad",),
    reference=lambda parameters, lr, eps: torch.optim.Adagrad(parameters, lr=lr, eps=eps),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, eps=1e-2),
        Case("falling rate", w=normal(5), dw=normal(20, 5), lr=FALLING, eps=1e-8),
        Case("weights that get no gradient at first", w=normal(2, 3), dw=late_gradients(20, 2, 3), lr=0.1, eps=1e-6),
    ],
    points={"w": 2, "arguments": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "forgets the squares of earlier steps",
            lambda w, dw, state, lr, eps: (w - lr * dw / (dw.abs() + eps), state),
            hint="the sum of squares has to be in the state that is returned, and be read from the one that comes in",
        ),
        Mistake("has eps under the root", _adagrad(inside=True), hint=_EPS_HINT),
        Mistake("leaves eps out", _adagrad(no_eps=True), hint=_NO_EPS_HINT),
        Mistake(
            "takes no root", _adagrad(root=False), hint="look at the unit: gradient over gradient, not over its square"
        ),
        Mistake("sums up absolute values", _adagrad(grows=lambda dw: dw.abs()), hint=_ROOT_HINT),
        Mistake(
            "uses the sum of the step before",
            _adagrad(late=True),
            hint="the new square joins the sum before the step is taken",
        ),
        Mistake(
            "shares one sum among all weights",
            _adagrad(grows=lambda dw: (dw * dw).sum().expand_as(dw)),
            hint="every weight has its own sum: no axis is summed over",
        ),
        Mistake(
            "climbs",
            lambda w, dw, state, lr, eps: _by_squares(w, dw, state, -lr, eps, 1.0, 1.0),
            hint="the gradient points to where the loss grows",
        ),
        changes_state(_adagrad()),
    ],
)

rmsprop = Stepper(
    functions=("rmsprop",),
    reference=lambda parameters, lr, decay, eps: torch.optim.RMSprop(parameters, lr=lr, alpha=decay, eps=eps),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, decay=0.9, eps=1e-2),
        Case("falling rate", w=normal(5), dw=normal(20, 5), lr=FALLING, decay=0.99, eps=1e-8),
        Case(
            "weights that get no gradient at first",
            w=normal(2, 3),
            dw=late_gradients(20, 2, 3),
            lr=0.1,
            decay=0.8,
            eps=1e-6,
        ),
    ],
    points={"w": 2, "arguments": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake("has eps under the root", _rmsprop(inside=True), hint=_EPS_HINT),
        Mistake("leaves eps out", _rmsprop(no_eps=True), hint=_NO_EPS_HINT),
        Mistake(
            "adds the new square whole",
            lambda w, dw, state, lr, decay, eps: _by_squares(w, dw, state, lr, eps, decay, 1.0),
            hint="an average: the weights of the old value and of the new square add up to 1",
        ),
        Mistake(
            "sums up, as AdaGrad does",
            lambda w, dw, state, lr, decay, eps: _by_squares(w, dw, state, lr, eps, 1.0, 1.0),
            hint="old squares have to fade",
        ),
        Mistake(
            "swaps decay and 1 - decay",
            lambda w, dw, state, lr, decay, eps: _by_squares(w, dw, state, lr, eps, 1 - decay, decay),
            hint="with decay 0.99 the average changes slowly",
        ),
        Mistake(
            "takes no root", _rmsprop(root=False), hint="look at the unit: gradient over gradient, not over its square"
        ),
        Mistake(
            "averages the absolute values",
            _rmsprop(grows=lambda dw: dw.abs()),
            hint="the squares are averaged first, the root is taken of their average",
        ),
        Mistake(
            "uses the average of the step before",
            _rmsprop(late=True),
            hint="the new square joins the average before the step is taken",
        ),
        changes_state(_rmsprop()),
    ],
)


def adam_steps(
    w,
    dw,
    state,
    lr,
    beta1,
    beta2,
    eps,
    *,
    first=True,
    second=True,
    offset=0,
    frozen=False,
    eps_at="outside",
    root=True,
    weighted=True,
    power=2,
    in_moment=True,
):
    """Step as Adam does; each keyword switches a mistake on."""
    step = 1 if frozen else state.get("step", 0) + 1
    zeros = torch.zeros_like(w)
    m = beta1 * state.get("m", zeros) + (1 - beta1 if weighted else 1.0) * dw
    v = beta2 * state.get("v", zeros) + (1 - beta2) * dw.abs() ** power
    count = step + offset
    correction1 = 1 - beta1**count if first else 1.0
    correction2 = 1 - beta2**count if second else 1.0
    top = (m if in_moment else dw) / correction1
    if eps_at == "inside":
        bottom = (v / correction2 + eps).sqrt()
    elif eps_at == "early":  # added to the root of the uncorrected average
        bottom = (v.sqrt() + eps) / correction2**0.5
    elif eps_at == "nowhere":
        bottom = (v / correction2).sqrt()
    else:
        bottom = ((v / correction2).sqrt() if root else v / correction2) + eps
    return w - lr * top / bottom, {"step": step, "m": m, "v": v}


def _adam(**mistakes):
    return lambda w, dw, state, lr, beta1, beta2, eps: adam_steps(w, dw, state, lr, beta1, beta2, eps, **mistakes)


adam = Stepper(
    functions=("adam",),
    reference=lambda parameters, lr, beta1, beta2, eps: torch.optim.Adam(
        parameters, lr=lr, betas=(beta1, beta2), eps=eps
    ),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, beta1=0.9, beta2=0.99, eps=1e-2),
        Case("falling rate", w=normal(5), dw=normal(20, 5), lr=FALLING, beta1=0.8, beta2=0.999, eps=1e-8),
        Case(
            "weights that get no gradient at first",
            w=normal(2, 3),
            dw=late_gradients(20, 2, 3),
            lr=0.1,
            beta1=0.9,
            beta2=0.95,
            eps=1e-6,
        ),
    ],
    points={"w": 5, "arguments": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "leaves the bias correction out",
            _adam(first=False, second=False),
            hint="both averages start at 0 and are too small in the first steps, by a factor that is known",
        ),
        Mistake(
            "corrects the average of squares alone",
            _adam(first=False),
            hint="the average of gradients starts at 0 as well",
        ),
        Mistake(
            "corrects the average of gradients alone",
            _adam(second=False),
            hint="the average of squares starts at 0 as well, and takes longest to fill",
        ),
        Mistake(
            "counts the first step as the second",
            _adam(offset=1),
            hint="in the first step the power in the bias correction is 1",
        ),
        Mistake(
            "never counts on",
            _adam(frozen=True),
            hint="the number of the step belongs in the state: read it there, count on, return it",
        ),
        Mistake("has eps under the root", _adam(eps_at="inside"), hint=_EPS_HINT),
        Mistake(
            "adds eps before the correction",
            _adam(eps_at="early"),
            hint="eps joins the root of the corrected average",
        ),
        Mistake("leaves eps out", _adam(eps_at="nowhere"), hint=_NO_EPS_HINT),
        Mistake(
            "swaps beta1 and beta2",
            lambda w, dw, state, lr, beta1, beta2, eps: adam_steps(w, dw, state, lr, beta2, beta1, eps),
            hint="beta1 belongs to the gradients, beta2 to their squares",
        ),
        Mistake(
            "takes no root", _adam(root=False), hint="look at the unit: gradient over gradient, not over its square"
        ),
        Mistake(
            "adds the new gradient whole",
            _adam(weighted=False),
            hint="both averages are averages: the weights of old and new add up to 1",
        ),
        Mistake(
            "averages the absolute values",
            _adam(power=1),
            hint="the second average is one of squares",
        ),
        Mistake(
            "steps by the gradient instead of its average",
            lambda w, dw, state, lr, beta1, beta2, eps: adam_steps(
                w, dw, state, lr, beta1, beta2, eps, first=False, in_moment=False
            ),
            hint="both averages take part in the step",
        ),
        changes_state(adam_steps),
    ],
)


def _adamw(decay, coupled=0.0, after=False):
    """Make AdamW with ``decay(lr, weight_decay)`` as the share of w that is lost; ``coupled`` goes to the gradient."""

    def variant(w, dw, state, lr, beta1, beta2, eps, weight_decay):
        kept = 1 - decay(lr, weight_decay)
        start = w if after else kept * w
        end, state = adam_steps(start, dw + coupled * weight_decay * w, state, lr, beta1, beta2, eps)
        return (kept * end if after else end), state

    return variant


_BETAS = {"beta1": 0.9, "beta2": 0.99}

adamw = Stepper(
    functions=("adamw",),
    reference=lambda parameters, lr, beta1, beta2, eps, weight_decay: torch.optim.AdamW(
        parameters, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay
    ),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, **_BETAS, eps=1e-8, weight_decay=0.5),
        Case("falling rate", w=normal(5), dw=normal(20, 5), lr=FALLING, **_BETAS, eps=1e-3, weight_decay=0.1),
    ],
    points={"w": 2, "arguments": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "adds the decay to the gradient",
            _adamw(lambda lr, decay: 0.0, coupled=1.0),
            hint="decoupled: the decay acts on the weights themselves, and neither average hears of it",
        ),
        Mistake(
            "decays both ways",
            _adamw(lambda lr, decay: lr * decay, coupled=1.0),
            hint="the decay acts on the weights themselves, and neither average hears of it",
        ),
        Mistake(
            "leaves lr out of the decay",
            _adamw(lambda lr, decay: decay),
            hint="the decay is multiplied by the learning rate, so that a schedule acts on it too",
        ),
        Mistake(
            "leaves the decay out",
            _adamw(lambda lr, decay: 0.0),
            hint="look for what becomes of weight_decay",
        ),
        Mistake(
            "doubles the decay",
            _adamw(lambda lr, decay: 2 * lr * decay),
            hint="the share of w that is lost in one step is lr * weight_decay",
        ),
        Mistake(
            "lets the weights grow",
            _adamw(lambda lr, decay: -lr * decay),
            hint="the decay pulls towards 0",
        ),
        Mistake(
            "decays after the step",
            _adamw(lambda lr, decay: lr * decay, after=True),
            hint="only the weights from before the step decay, not the step itself",
        ),
        changes_state(_adamw(lambda lr, decay: lr * decay)),
    ],
)
