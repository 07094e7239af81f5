"""Rules that give every weight a step length of its own: AdaGrad, RMSProp, Adam, AdamW."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.exercises.a2.optimizers.adaptive import adam_steps, late_gradients

from .rules import by_torch, cases, changes_state, in_place, keeps_first_rate


def _adagrad(w, dw, state, lr, eps=1e-10):
    squares = state.get("squares", torch.zeros_like(w)) + dw**2
    return w - lr * dw / (squares.sqrt() + eps), {"squares": squares}


def _adagrad_by_root(w, dw, state, lr=0.1, eps=1e-10):
    """Carry the root of the sum: the length of the vector of all gradients of a weight."""
    root = torch.hypot(state.get("root", torch.zeros_like(w)), dw)
    return w + dw.neg().mul(lr).div(root.add(eps)), {"root": root}


def _adagrad_by_history(w, dw, state, lr=0.1, eps=1e-10):
    history = torch.cat([state["history"], dw[None]]) if state else dw[None]
    return (w - lr * dw / (history.norm(dim=0) + eps)), {"history": history}


def _adagrad_late_eps(w, dw, state, lr, eps):
    squares = state.get("squares", torch.full_like(w, eps)) + dw**2
    return w - lr * dw / squares.sqrt(), {"squares": squares}


def _adagrad_maximum(w, dw, state, lr, eps):
    root = torch.maximum(state.get("root", torch.zeros_like(w)), dw.abs())
    return w - lr * dw / (root + eps), {"root": root}


def _adagrad_mean(w, dw, state, lr, eps):
    squares, steps = state.get("squares", torch.zeros_like(w)) + dw**2, state.get("steps", 0) + 1
    return w - lr * dw / ((squares / steps).sqrt() + eps), {"squares": squares, "steps": steps}


def _adagrad_clamped(w, dw, state, lr, eps):
    squares = state.get("squares", torch.zeros_like(w)) + dw**2
    return w - lr * dw / squares.sqrt().clamp(min=eps), {"squares": squares}


_SPARSE = {"w": normal(2, 3), "dw": late_gradients(20, 2, 3), "lr": 0.3}

adagrad = Hidden(
    cases=[
        *cases(eps=1e-10),
        Case("a large eps", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.5, eps=2.0),
        Case("weights that get no gradient at first", **_SPARSE, eps=1e-3),
    ],
    mutants={
        "changes w in place": in_place(_adagrad),
        "changes the state": changes_state(_adagrad),
        "keeps the first learning rate": keeps_first_rate(_adagrad),
        "uses torch.optim": by_torch(torch.optim.Adagrad),
        "takes 1e-10 whatever is passed": lambda w, dw, state, lr, eps: _adagrad(w, dw, state, lr),
        "starts the sum at eps": _adagrad_late_eps,
        "keeps the largest gradient": _adagrad_maximum,
        "takes the mean of the squares": _adagrad_mean,
        "takes eps as the smallest denominator": _adagrad_clamped,
    },
    solutions={"carries the root": _adagrad_by_root, "carries all gradients": _adagrad_by_history},
)


def _rmsprop(w, dw, state, lr, decay=0.99, eps=1e-8):
    squares = decay * state.get("squares", torch.zeros_like(w)) + (1 - decay) * dw**2
    return w - lr * dw / (squares.sqrt() + eps), {"squares": squares}


def _rmsprop_by_lerp(w, dw, state, lr=0.01, decay=0.99, eps=1e-8):
    squares = torch.lerp(dw * dw, state["squares"], decay) if state else dw * dw * (1 - decay)
    return torch.addcdiv(w, dw, squares.sqrt() + eps, value=-lr), {"squares": squares}


def _rmsprop_by_difference(w, dw, state, lr=0.01, decay=0.99, eps=1e-8):
    old = state["s"] if state else torch.zeros_like(w)
    new = old + (1 - decay) * (dw.square() - old)
    return w - dw * (lr / (torch.sqrt(new) + eps)), {"s": new}


def _rmsprop_starts_full(w, dw, state, lr, decay, eps):
    squares = decay * state["squares"] + (1 - decay) * dw**2 if state else dw**2
    return w - lr * dw / (squares.sqrt() + eps), {"squares": squares}


def _rmsprop_corrected(w, dw, state, lr, decay, eps):
    steps = state.get("steps", 0) + 1
    squares = decay * state.get("squares", torch.zeros_like(w)) + (1 - decay) * dw**2
    return w - lr * dw / ((squares / (1 - decay**steps)).sqrt() + eps), {"squares": squares, "steps": steps}


def _rmsprop_centred(w, dw, state, lr, decay, eps):
    mean = decay * state.get("mean", torch.zeros_like(w)) + (1 - decay) * dw
    squares = decay * state.get("squares", torch.zeros_like(w)) + (1 - decay) * dw**2
    return w - lr * dw / ((squares - mean**2).clamp(min=0).sqrt() + eps), {"mean": mean, "squares": squares}


rmsprop = Hidden(
    cases=[
        *cases(decay=0.99, eps=1e-8),
        Case("a large eps", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.5, decay=0.9, eps=2.0),
        Case("decay 0.5", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, decay=0.5, eps=1e-8),
        Case("weights that get no gradient at first", **_SPARSE, decay=0.9, eps=1e-3),
    ],
    mutants={
        "changes w in place": in_place(_rmsprop),
        "changes the state": changes_state(_rmsprop),
        "keeps the first learning rate": keeps_first_rate(_rmsprop),
        "uses torch.optim": by_torch(
            torch.optim.RMSprop, lambda options: {"alpha": options["decay"], "eps": options["eps"]}
        ),
        "takes 0.99 whatever is passed": lambda w, dw, state, lr, decay, eps: _rmsprop(w, dw, state, lr, eps=eps),
        "starts with the first square whole": _rmsprop_starts_full,
        "corrects the bias": _rmsprop_corrected,
        "subtracts the mean": _rmsprop_centred,
    },
    solutions={"by lerp and addcdiv": _rmsprop_by_lerp, "by the difference": _rmsprop_by_difference},
)


def _adam(w, dw, state, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    return adam_steps(w, dw, state, lr, beta1, beta2, eps)


def _adam_as_in_torch(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Correct the learning rate instead of the averages."""
    t = state["t"] + 1 if state else 1
    m = torch.lerp(state["m"] if state else torch.zeros_like(w), dw, 1 - beta1)
    v = (state["v"] if state else torch.zeros_like(w)) * beta2 + (1 - beta2) * dw * dw
    bottom = v.sqrt() / math.sqrt(1 - beta2**t) + eps
    return w - (lr / (1 - beta1**t)) * (m / bottom), {"t": t, "m": m, "v": v}


def _adam_by_normalized_sums(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Carry unnormalised sums with the sums of their weights: a weighted mean needs no correction."""
    new = {}
    for name, beta, value in (("a", beta1, dw), ("b", beta2, dw**2)):
        total, weight = state.get(name, (torch.zeros_like(w), 0.0))
        new[name] = (beta * total + value, beta * weight + 1)
    mean, square = (total / weight for total, weight in new.values())
    return w - lr * mean / (square**0.5 + eps), new


def _adam_by_history(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Keep every gradient and take the weighted means anew."""
    gradients = torch.stack([*state.get("gradients", []), dw])
    ages = torch.arange(len(gradients) - 1, -1, -1, dtype=w.dtype, device=w.device)

    def mean(beta, values):
        weights = (beta**ages).reshape(-1, *[1] * dw.dim())
        return (weights * values).sum(0) / weights.sum()

    step = mean(beta1, gradients) / (mean(beta2, gradients**2).sqrt() + eps)
    return w - lr * step, {"gradients": list(gradients)}


def _adam_corrected_again(w, dw, state, lr, beta1, beta2, eps):
    """Put the corrected averages into the state, where they are corrected again."""
    step = state.get("step", 0) + 1
    m = (beta1 * state.get("m", torch.zeros_like(w)) + (1 - beta1) * dw) / (1 - beta1**step)
    v = (beta2 * state.get("v", torch.zeros_like(w)) + (1 - beta2) * dw**2) / (1 - beta2**step)
    return w - lr * m / (v.sqrt() + eps), {"step": step, "m": m, "v": v}


def _adam_amsgrad(w, dw, state, lr, beta1, beta2, eps):
    step = state.get("step", 0) + 1
    m = beta1 * state.get("m", torch.zeros_like(w)) + (1 - beta1) * dw
    v = beta2 * state.get("v", torch.zeros_like(w)) + (1 - beta2) * dw**2
    top = torch.maximum(state.get("top", torch.zeros_like(w)), v)
    new = w - lr * m / (1 - beta1**step) / ((top / (1 - beta2**step)).sqrt() + eps)
    return new, {"step": step, "m": m, "v": v, "top": top}


def _adam_from_zero(w, dw, state, lr, beta1, beta2, eps):
    """Count the steps from 0, so that the first correction divides by 0."""
    step = state.get("step", 0)
    m = beta1 * state.get("m", torch.zeros_like(w)) + (1 - beta1) * dw
    v = beta2 * state.get("v", torch.zeros_like(w)) + (1 - beta2) * dw**2
    one = torch.ones_like(w)
    new = w - lr * m / (one - beta1**step) / ((v / (one - beta2**step)).sqrt() + eps)
    return new, {"step": step + 1, "m": m, "v": v}


def _adam_options(options):
    return {"betas": (options.pop("beta1"), options.pop("beta2")), **options}


def _adam_needs_gradient(w, dw, state, lr, beta1, beta2, eps):
    """Leave weights without a gradient where they are, though their average still moves them."""
    end, new = _adam(w, dw, state, lr, beta1, beta2, eps)
    return torch.where(dw == 0, w, end), new


_BETAS = {"beta1": 0.9, "beta2": 0.999}

adam = Hidden(
    cases=[
        *cases(**_BETAS, eps=1e-8),
        Case("a large eps", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.5, **_BETAS, eps=2.0),
        Case("beta1 of 0", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, beta1=0.0, beta2=0.9, eps=1e-8),
        Case("beta2 below beta1", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, beta1=0.95, beta2=0.7, eps=1e-8),
        Case("weights that get no gradient at first", **_SPARSE, **_BETAS, eps=1e-3),
    ],
    mutants={
        "changes w in place": in_place(_adam),
        "changes the state": changes_state(_adam),
        "keeps the first learning rate": keeps_first_rate(_adam),
        "uses torch.optim": by_torch(torch.optim.Adam, _adam_options),
        "takes the usual betas whatever is passed": lambda w, dw, state, lr, beta1, beta2, eps: _adam(
            w, dw, state, lr, eps=eps
        ),
        "corrects what is corrected": _adam_corrected_again,
        "keeps the largest average": _adam_amsgrad,
        "counts from 0": _adam_from_zero,
        "leaves weights without a gradient alone": _adam_needs_gradient,
        "forgets the state": lambda w, dw, state, lr, beta1, beta2, eps: _adam(w, dw, {}, lr, beta1, beta2, eps),
    },
    solutions={
        "corrects the learning rate": _adam_as_in_torch,
        "weighted means": _adam_by_normalized_sums,
        "carries all gradients": _adam_by_history,
    },
)


def _adamw(w, dw, state, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    return adam_steps(w * (1 - lr * weight_decay), dw, state, lr, beta1, beta2, eps)


def _adamw_added(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    end, state = _adam_as_in_torch(w, dw, state, lr, beta1, beta2, eps)
    return end - lr * weight_decay * w, state


def _adamw_from_zeros(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    step, state = _adam_by_normalized_sums(torch.zeros_like(w), dw, state, lr, beta1, beta2, eps)
    return (1 - lr * weight_decay) * w + step, state


def _adamw_first_rate(w, dw, state, lr, beta1, beta2, eps, weight_decay):
    first = state.get("first", lr)
    end, inner = _adam(w, dw, state.get("inner", {}), lr, beta1, beta2, eps)
    return end - first * weight_decay * w, {"inner": inner, "first": first}


def _adamw_by_sign(w, dw, state, lr, beta1, beta2, eps, weight_decay):
    end, state = _adam(w, dw, state, lr, beta1, beta2, eps)
    return end - lr * weight_decay * w.sign(), state


def _adamw_matrices_only(w, dw, state, lr, beta1, beta2, eps, weight_decay):
    return _adamw(w, dw, state, lr, beta1, beta2, eps, weight_decay if w.dim() > 1 else 0.0)


adamw = Hidden(
    cases=[
        *cases(**_BETAS, eps=1e-8, weight_decay=0.1),
        Case("no decay", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, **_BETAS, eps=1e-8, weight_decay=0.0),
        Case("a large decay", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, **_BETAS, eps=1e-8, weight_decay=5.0),
        Case(
            "other betas", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, beta1=0.5, beta2=0.7, eps=0.1, weight_decay=0.1
        ),
    ],
    mutants={
        "changes w in place": in_place(_adamw),
        "changes the state": changes_state(_adamw),
        "keeps the first learning rate": keeps_first_rate(_adamw),
        "keeps the first learning rate for the decay": _adamw_first_rate,
        "uses torch.optim": by_torch(torch.optim.AdamW, _adam_options),
        "takes 0.01 whatever is passed": lambda w, dw, state, lr, beta1, beta2, eps, weight_decay: _adamw(
            w, dw, state, lr, beta1, beta2, eps
        ),
        "pulls with constant force": _adamw_by_sign,
        "lets only matrices decay": _adamw_matrices_only,
        "forgets the state": lambda w, dw, state, lr, beta1, beta2, eps, weight_decay: _adamw(
            w, dw, {}, lr, beta1, beta2, eps, weight_decay
        ),
    },
    solutions={"adds the decay at the end": _adamw_added, "Adam's step from zero": _adamw_from_zeros},
)
