"""Hidden cases, mutants and other solutions for solutions/a2/optimizers.py."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, given, normal
from dlcvkit.exercises.a2.optimizers.adaptive import adam_steps, late_gradients
from dlcvkit.exercises.a2.optimizers.directions import pairs

RISING = [0.01 * 1.2**step for step in range(20)]


def _zeros_with(*entries, steps=20):
    """Describe gradients that are zero but for some ``(step, weight, value)``, three weights."""
    rows = [[0.0] * 3 for _ in range(steps)]
    for step, weight, value in entries:
        rows[step][weight] = value
    return given(rows)


def _cases(**options):
    """Return the cases that every rule is tried on; the options are its other arguments."""
    return [
        Case("one weight", w=normal(1), dw=normal(20, 1), lr=0.2, **options),
        Case("four axes", w=normal(2, 3, 1, 2), dw=normal(20, 2, 3, 1, 2), lr=0.05, **options),
        Case("one step", w=normal(2, 3), dw=normal(1, 2, 3), lr=0.5, **options),
        Case("zero gradients", w=normal(3), dw=_zeros_with(), lr=0.1, **options),
        Case("zero gradients after a few", w=normal(3), dw=_zeros_with((1, 0, 2.0), (4, 2, -1.0)), lr=0.1, **options),
        Case("gradients of 1e4", w=normal(3, 2), dw=normal(20, 3, 2, std=1e4), lr=1e-3, **options),
        Case("gradients of 1e-4", w=normal(3, 2), dw=normal(20, 3, 2, std=1e-4), lr=1.0, **options),
        Case("rising rate", w=normal(4), dw=normal(20, 4), lr=RISING, **options),
        Case("float32", w=normal(4, 3), dw=normal(20, 4, 3), lr=0.1, **options).float32(),
        Case("non-contiguous", w=normal(4, 3), dw=normal(20, 4, 3), lr=0.1, **options).strided(),
    ]


def _in_place(rule):
    """Let a rule write its new weights into the old ones."""

    def changed(w, dw, state, **options):
        end, state = rule(w, dw, state, **options)
        return w.copy_(end), state

    return changed


def _keeps_first_rate(rule):
    """Let a rule stay at the learning rate of the first step."""

    def changed(w, dw, state, lr, **options):
        first = state.get("first rate", lr)
        end, inner = rule(w, dw, state.get("inner", {}), lr=first, **options)
        return end, {"inner": inner, "first rate": first}

    return changed


def _changes_state(rule):
    """Let a rule write its new state into the old one."""

    def changed(w, dw, state, **options):
        end, new = rule(w, dw, state, **options)
        state.update(new)
        return end, state

    return changed


def _by_torch(optimiser, rename=lambda options: options):
    """Let torch's optimiser do the work, its own state carried along."""

    def rule(w, dw, state, lr, **options):
        parameter = w.clone()
        parameter.grad = dw
        stepper = optimiser([parameter], lr=lr, **rename(options))
        if state:
            stepper.state[parameter] = state["kept"]
        stepper.step()
        return parameter, {"kept": stepper.state[parameter]}

    return rule


def _sgd(w, dw, state, lr):
    return w - lr * dw, state


def _sgd_by_loop(w, dw, state, lr=0.1):
    new = [a - b * lr for a, b in zip(w.flatten().tolist(), dw.flatten().tolist(), strict=True)]
    return torch.tensor(new, dtype=w.dtype, device=w.device).reshape(w.shape), {}


def _sgd_by_add(w, dw, state, lr=0.1):
    return [torch.add(w, dw, alpha=-lr), {**state, "steps": state.get("steps", 0) + 1}]


def _sgd_in_half(w, dw, state, lr):
    return (w.half() - lr * dw.half()).to(w.dtype), state


def _sgd_decaying(w, dw, state, lr):
    steps = state.get("steps", 0)
    return w - lr * 0.99**steps * dw, {"steps": steps + 1}


def _sgd_clipping(w, dw, state, lr):
    return w - lr * dw.clamp(-3, 3), state


sgd = Hidden(
    cases=_cases(),
    mutants={
        "changes w in place": _in_place(_sgd),
        "keeps the first learning rate": _keeps_first_rate(_sgd),
        "uses torch.optim": _by_torch(torch.optim.SGD),
        "returns the weights alone": lambda w, dw, state, lr: w - lr * dw,
        "state before weights": lambda w, dw, state, lr: (state, w - lr * dw),
        "computes in half precision": _sgd_in_half,
        "lets lr decay": _sgd_decaying,
        "clips large gradients": _sgd_clipping,
        "returns a row": lambda w, dw, state, lr: ((w - lr * dw).flatten(), state),
        "doubles the step": lambda w, dw, state, lr: (w - 2 * lr * dw, state),
    },
    solutions={"entry by entry": _sgd_by_loop, "torch.add, a list, a counter": _sgd_by_add},
)


def _momentum(w, dw, state, lr, momentum=0.9):
    velocity = momentum * state.get("velocity", torch.zeros_like(w)) + dw
    return w - lr * velocity, {"velocity": velocity}


def _momentum_by_steps(w, dw, state, lr=0.1, momentum=0.9):
    """Carry the last step and its rate instead of the velocity."""
    step = -lr * dw
    if "step" in state:
        step = step + momentum * (lr / state["lr"]) * state["step"]
    return w + step, {"step": step, "lr": lr}


def _momentum_by_history(w, dw, state, lr=0.1, momentum=0.9):
    """Add up all gradients so far, each with its weight."""
    gradients = [*state.get("gradients", []), dw]
    velocity = sum(momentum ** (len(gradients) - 1 - i) * gradient for i, gradient in enumerate(gradients))
    return w - lr * velocity, {"gradients": gradients}


def _momentum_in_two_axes(w, dw, state, lr, momentum):
    velocity = momentum * state.get("velocity", torch.zeros_like(w)) + dw
    return w - lr * velocity.mean(0, keepdim=True).expand_as(w), {"velocity": velocity}


def _momentum_dampened_once(w, dw, state, lr, momentum):
    velocity = momentum * state["velocity"] + dw if state else (1 - momentum) * dw
    return w - lr * velocity, {"velocity": velocity}


_GLOBAL = {}


def _momentum_outside(w, dw, state, lr, momentum):
    """Keep the velocity outside of the state, where a second call of the same kind finds it."""
    key = tuple(w.shape)
    velocity = momentum * _GLOBAL.get(key, torch.zeros_like(w)) + dw
    _GLOBAL[key] = velocity
    return w - lr * velocity, {}


_MOMENTS = [
    Case("no momentum", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.0),
    Case("momentum 0.99", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.99),
]

sgd_momentum = Hidden(
    cases=[*_cases(momentum=0.9), *_MOMENTS],
    mutants={
        "changes w in place": _in_place(_momentum),
        "changes the state": _changes_state(_momentum),
        "keeps the first learning rate": _keeps_first_rate(_momentum),
        "uses torch.optim": _by_torch(torch.optim.SGD),
        "takes 0.9 whatever is passed": lambda w, dw, state, lr, momentum: _momentum(w, dw, state, lr),
        "averages over the first axis": _momentum_in_two_axes,
        "starts with a part of the gradient": _momentum_dampened_once,
        "keeps the velocity outside of the state": _momentum_outside,
        "returns the velocity instead of a state": lambda w, dw, state, lr, momentum: (w - lr * dw, dw),
    },
    solutions={
        "carries the step": _momentum_by_steps,
        "carries all gradients": _momentum_by_history,
    },
)


def _nesterov(w, dw, state, lr, momentum=0.9):
    velocity = momentum * state.get("velocity", torch.zeros_like(w)) + dw
    return w - lr * (dw + momentum * velocity), {"velocity": velocity}


def _nesterov_expanded(w, dw, state, lr=0.1, momentum=0.9):
    old = state.get("velocity", w.new_zeros(w.shape))
    return w - lr * (1 + momentum) * dw - lr * momentum**2 * old, {"velocity": old * momentum + dw}


def _nesterov_by_kept_part(w, dw, state, lr=0.1, momentum=0.9):
    """Carry the part of the velocity that is kept."""
    kept = momentum * (state["kept"] + dw) if state else momentum * dw
    return w - lr * (kept + dw), {"kept": kept, "about": "what the next step starts from"}


def _nesterov_by_two_points(w, dw, state, lr, momentum):
    """Interpolate between gradient steps, as in Nesterov's paper, which fits constant rates only."""
    point = w - lr * dw
    before = state.get("point", w)
    return point + momentum * (point - before), {"point": point}


nesterov = Hidden(
    cases=[
        *_cases(momentum=0.9),
        Case("momentum 0.1", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.1),
        Case("momentum 0.99", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.99),
    ],
    mutants={
        "changes w in place": _in_place(_nesterov),
        "changes the state": _changes_state(_nesterov),
        "keeps the first learning rate": _keeps_first_rate(_nesterov),
        "uses torch.optim": _by_torch(torch.optim.SGD, lambda options: {**options, "nesterov": True}),
        "takes 0.9 whatever is passed": lambda w, dw, state, lr, momentum: _nesterov(w, dw, state, lr),
        "interpolates between gradient steps": _nesterov_by_two_points,
        "starts each step anew": lambda w, dw, state, lr, momentum: (w - lr * (1 + momentum) * dw, {}),
    },
    solutions={"expanded": _nesterov_expanded, "carries the part that is kept": _nesterov_by_kept_part},
)


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
        *_cases(eps=1e-10),
        Case("a large eps", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.5, eps=2.0),
        Case("weights that get no gradient at first", **_SPARSE, eps=1e-3),
    ],
    mutants={
        "changes w in place": _in_place(_adagrad),
        "changes the state": _changes_state(_adagrad),
        "keeps the first learning rate": _keeps_first_rate(_adagrad),
        "uses torch.optim": _by_torch(torch.optim.Adagrad),
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
        *_cases(decay=0.99, eps=1e-8),
        Case("a large eps", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.5, decay=0.9, eps=2.0),
        Case("decay 0.5", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, decay=0.5, eps=1e-8),
        Case("weights that get no gradient at first", **_SPARSE, decay=0.9, eps=1e-3),
    ],
    mutants={
        "changes w in place": _in_place(_rmsprop),
        "changes the state": _changes_state(_rmsprop),
        "keeps the first learning rate": _keeps_first_rate(_rmsprop),
        "uses torch.optim": _by_torch(
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
        *_cases(**_BETAS, eps=1e-8),
        Case("a large eps", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.5, **_BETAS, eps=2.0),
        Case("beta1 of 0", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, beta1=0.0, beta2=0.9, eps=1e-8),
        Case("beta2 below beta1", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, beta1=0.95, beta2=0.7, eps=1e-8),
        Case("weights that get no gradient at first", **_SPARSE, **_BETAS, eps=1e-3),
    ],
    mutants={
        "changes w in place": _in_place(_adam),
        "changes the state": _changes_state(_adam),
        "keeps the first learning rate": _keeps_first_rate(_adam),
        "uses torch.optim": _by_torch(torch.optim.Adam, _adam_options),
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
        *_cases(**_BETAS, eps=1e-8, weight_decay=0.1),
        Case("no decay", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, **_BETAS, eps=1e-8, weight_decay=0.0),
        Case("a large decay", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, **_BETAS, eps=1e-8, weight_decay=5.0),
        Case(
            "other betas", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, beta1=0.5, beta2=0.7, eps=0.1, weight_decay=0.1
        ),
    ],
    mutants={
        "changes w in place": _in_place(_adamw),
        "changes the state": _changes_state(_adamw),
        "keeps the first learning rate": _keeps_first_rate(_adamw),
        "keeps the first learning rate for the decay": _adamw_first_rate,
        "uses torch.optim": _by_torch(torch.optim.AdamW, _adam_options),
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


def _lr_by_table(step, schedule, lr, total, warmup=0, min_lr=0.0, drop_every=10, drop_factor=0.1):
    """Let each schedule be a function of the share of time, as a tensor."""
    number = step + 1
    if number <= warmup:
        return torch.tensor(lr * number / (warmup + 1), dtype=torch.float64)
    t, T = number - 1 - warmup, total - warmup
    falls = {
        "step": lambda: lr * math.exp(math.log(drop_factor) * math.floor(t / drop_every)),
        "cosine": lambda: min_lr + (lr - min_lr) * math.cos(math.pi * min(t, T) / (2 * T)) ** 2,
        "linear": lambda: max(lr - (lr - min_lr) * t / T, min_lr),
        "inverse_sqrt": lambda: lr * (warmup + 1) ** 0.5 * number**-0.5,
    }
    return torch.tensor(falls[schedule](), dtype=torch.float64)


def _lr_by_walking(step, schedule, lr, total, warmup=0, min_lr=0.0, drop_every=10, drop_factor=0.1):
    """Go through all steps so far, as a scheduler object does."""
    if step < warmup:
        return sum(lr / (warmup + 1) for _ in range(step + 1))
    rate = lr
    for done in range(1, step - warmup + 1):
        if schedule == "step" and done % drop_every == 0:
            rate *= drop_factor
        elif schedule == "linear" and done <= total - warmup:
            rate -= (lr - min_lr) / (total - warmup)
        elif schedule == "cosine":
            angle = math.pi * min(done, total - warmup) / (total - warmup)
            rate = 0.5 * (lr + min_lr) + 0.5 * (lr - min_lr) * math.cos(angle)
        elif schedule == "inverse_sqrt":
            rate *= math.sqrt((warmup + done) / (warmup + done + 1))
    return rate


def _lr(step, schedule, lr, total, warmup=0, min_lr=0.0, drop_every=10, drop_factor=0.1):
    return float(_lr_by_table(step, schedule, lr, total, warmup, min_lr, drop_every, drop_factor))


def _lr_rounded(*args, **options):
    return round(_lr(*args, **options), 3)


def _lr_as_factor(step, schedule, lr, total, **options):
    return _lr(step, schedule, lr, total, **options) / lr


def _lr_from_one(step, schedule, *args, **options):
    return _lr(max(step - 1, 0), schedule, *args, **options)


def _lr_ends_early(step, schedule, lr, total, **options):
    return _lr(step, schedule, lr, total - 1 if schedule in ("cosine", "linear") else total, **options)


def _lr_floored(step, schedule, lr, total, min_lr=0.0, **options):
    """Keep the step and inverse-root schedules above min_lr as well."""
    return max(_lr(step, schedule, lr, total, min_lr=min_lr, **options), min_lr)


def _lr_swaps(step, schedule, lr, total, **options):
    return _lr(step, {"cosine": "linear", "linear": "cosine"}.get(schedule, schedule), lr, total, **options)


def _lr_warms_to_floor(step, schedule, lr, total, warmup=0, min_lr=0.0, **options):
    """Let the warm-up climb from min_lr."""
    if step < warmup:
        return min_lr + (lr - min_lr) * (step + 1) / (warmup + 1)
    return _lr(step, schedule, lr, total, warmup=warmup, min_lr=min_lr, **options)


_SETTINGS = {"lr": 0.3, "min_lr": 0.0, "drop_every": 5, "drop_factor": 0.1}

lr_at = Hidden(
    cases=[
        Case("a floor above 0", steps=20, warmup=0, total=15, **_SETTINGS | {"min_lr": 0.05}),
        Case("a long warm-up", steps=20, warmup=12, total=15, **_SETTINGS),
        Case("one step of warm-up", steps=9, warmup=1, total=8, **_SETTINGS | {"min_lr": 0.2}),
        Case("one step after the warm-up", steps=8, warmup=4, total=5, **_SETTINGS | {"min_lr": 0.1}),
        Case("a drop at every step", steps=10, warmup=2, total=9, **_SETTINGS | {"drop_every": 1, "drop_factor": 0.7}),
        Case("many steps", steps=60, warmup=5, total=50, **_SETTINGS | {"lr": 1e-3, "min_lr": 1e-5, "drop_every": 20}),
        Case("no drop at all", steps=10, warmup=0, total=10, **_SETTINGS | {"drop_every": 100}),
    ],
    mutants={
        "rounds": _lr_rounded,
        "returns the factor": _lr_as_factor,
        "counts from 1": _lr_from_one,
        "ends one step early": _lr_ends_early,
        "keeps every schedule above min_lr": _lr_floored,
        "swaps cosine and linear": _lr_swaps,
        "climbs from min_lr": _lr_warms_to_floor,
        "knows one schedule": lambda step, schedule, *args, **options: _lr(step, "cosine", *args, **options),
        "returns a text": lambda step, schedule, *args, **options: str(_lr(step, schedule, *args, **options)),
    },
    solutions={"closed forms as tensors": _lr_by_table, "goes step by step": _lr_by_walking},
    equivalent={
        "lr_at: step < warmup -> step <= warmup": "at step = warmup every schedule is at the full rate, and so is the warm-up's formula"
    },
)


def _clip(grads, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in grads.values()]).norm()
    factor = 1.0 if norm <= max_norm else max_norm / norm
    return {name: gradient * factor for name, gradient in grads.items()}, norm


def _clip_as_torch(grads, max_norm):
    total = sum(float((gradient**2).sum()) for gradient in grads.values()) ** 0.5
    factor = min(1.0, max_norm / (total + 1e-6))
    return {name: factor * gradient for name, gradient in grads.items()}, total


def _clip_in_place(grads, max_norm):
    clipped, norm = _clip(grads, max_norm)
    for name, gradient in grads.items():
        gradient.copy_(clipped[name])
    return grads, norm


def _clip_first(grads, max_norm):
    norm = next(iter(grads.values())).norm()
    factor = (max_norm / norm).clamp(max=1.0)
    return {name: gradient * factor for name, gradient in grads.items()}, norm


def _clip_matrices(grads, max_norm):
    return _clip({name: g if g.dim() > 1 else torch.zeros_like(g) for name, g in grads.items()}, max_norm)


def _clip_rows(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    rows = {name: g.norm(dim=-1, keepdim=True) if g.dim() else g.abs() for name, g in grads.items()}
    return {name: g * (max_norm / rows[name].clamp(min=1e-9)).clamp(max=1.0) for name, g in grads.items()}, norm


def _clip_always(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    return {name: gradient * (max_norm / norm.clamp(min=1e-9)) for name, gradient in grads.items()}, norm


def _clip_to_zero(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    return {name: gradient * float(norm <= max_norm) for name, gradient in grads.items()}, norm


def _clip_nan(grads, max_norm):
    """Scale by a minimum that divides 0 by 0."""
    _, norm = _clip(grads, max_norm)
    return {name: gradient / norm * norm.clamp(max=max_norm) for name, gradient in grads.items()}, norm


def _clip_by_torch(grads, max_norm):
    parameters = {name: torch.zeros_like(gradient) for name, gradient in grads.items()}
    for name, parameter in parameters.items():
        parameter.grad = grads[name].clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm)
    return {name: parameter.grad for name, parameter in parameters.items()}, norm


clip_grad_norm = Hidden(
    cases=[
        Case("zero gradients", grads={"W": given([[0.0, 0.0]]), "b": given([0.0])}, max_norm=1.0),
        Case("exactly max_norm", grads={"W": given([[3.0], [0.0]]), "b": given([4.0])}, max_norm=5.0),
        Case("one tensor", grads={"W": normal(3, 4, 2)}, max_norm=1.0),
        Case("one number", grads={"scale": given(-7.0)}, max_norm=2.0),
        Case(
            "many tensors of many shapes",
            grads={
                "a": normal(2, 3),
                "b": normal(1),
                "c": normal(2, 1, 3, 2),
                "d": given(2.5),
                "e": normal(7, std=4.0),
            },
            max_norm=3.0,
        ),
        Case("one large among small", grads={"W": normal(4, 4, std=0.01), "b": given([1e4, -2e4])}, max_norm=1.0),
        Case("a norm below 1", grads={"W": normal(2, 2, std=0.1), "b": normal(2, std=0.1)}, max_norm=0.9),
        Case("float32", grads={"W": normal(4, 3, std=9.0), "b": normal(3)}, max_norm=4.0).float32(),
        Case("non-contiguous", grads={"W": normal(4, 3, std=9.0), "b": normal(3)}, max_norm=4.0).strided(),
    ],
    mutants={
        "changes the gradients": _clip_in_place,
        "looks at the first tensor alone": _clip_first,
        "leaves vectors out": _clip_matrices,
        "clips every row": _clip_rows,
        "scales whatever the norm": _clip_always,
        "throws large gradients away": _clip_to_zero,
        "divides 0 by 0": _clip_nan,
        "uses torch.nn.utils": _clip_by_torch,
        "returns the gradients alone": lambda grads, max_norm: _clip(grads, max_norm)[0],
        "norm before gradients": lambda grads, max_norm: _clip(grads, max_norm)[::-1],
        "returns a list": lambda grads, max_norm: (list(_clip(grads, max_norm)[0].values()), _clip(grads, max_norm)[1]),
    },
    solutions={"one long vector": _clip, "as torch does, a Python number": _clip_as_torch},
)


def _direction_by_matrices(gradient, steps, changes):
    """Build the inverse Hessian, (D, D), and multiply."""
    eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    inverse = eye
    if len(steps):
        inverse = eye * (steps[-1].dot(changes[-1]) / changes[-1].dot(changes[-1]))
    for s, y in zip(steps, changes, strict=True):
        rho = 1 / s.dot(y)
        left = eye - rho * s[:, None] * y[None, :]
        inverse = left @ inverse @ left.T + rho * s[:, None] * s[None, :]
    return -(inverse @ gradient)


def _direction_recursively(gradient, steps, changes, gamma=None):
    """Peel the newest pair off, solve the rest, put it back."""
    if len(steps) == 0:
        return -gradient * (1.0 if gamma is None else gamma)
    s, y = steps[-1], changes[-1]
    gamma = (s @ y) / (y @ y) if gamma is None else gamma
    alpha = (s @ gradient) / (s @ y)
    inner = _direction_recursively(gradient - alpha * y, steps[:-1], changes[:-1], gamma)
    return inner - (alpha + (y @ inner) / (s @ y)) * s


def _direction(gradient, steps, changes):
    return _direction_recursively(gradient, steps, changes)


def _direction_normalized(gradient, steps, changes):
    direction = _direction(gradient, steps, changes)
    return direction / direction.norm()


def _direction_in_place(gradient, steps, changes):
    return gradient.copy_(_direction(gradient, steps, changes))


def _direction_of_dfp(gradient, steps, changes):
    """Update as Davidon, Fletcher and Powell do: BFGS with steps and changes in each other's place."""
    eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    inverse = eye if len(steps) == 0 else eye * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(steps, changes, strict=True):
        moved = inverse @ y
        inverse = inverse - torch.outer(moved, moved) / (y @ moved) + torch.outer(s, s) / (s @ y)
    return -inverse @ gradient


def _direction_of_five(gradient, steps, changes):
    return _direction(gradient, steps[:5], changes[:5])


def _direction_scaled_by_mean(gradient, steps, changes):
    gamma = ((steps * changes).sum() / changes.square().sum()) if len(steps) else 1.0
    return _direction_recursively(gradient, steps, changes, gamma)


lbfgs_direction = Hidden(
    cases=[
        Case("one weight", gradient=normal(1), pairs=pairs(1, 1)),
        Case("as many pairs as weights", gradient=normal(4), pairs=pairs(4, 4)),
        Case("one step along each axis: Newton's direction", gradient=normal(4), pairs=pairs(4, 4, conjugate=True)),
        Case("more pairs than weights", gradient=normal(3), pairs=pairs(8, 3)),
        Case("many weights", gradient=normal(60), pairs=pairs(7, 60)),
        Case("a flat quadratic", gradient=normal(5, std=1e-3), pairs=pairs(3, 5, scale=1e-3)),
        Case("a steep quadratic", gradient=normal(5, std=1e3), pairs=pairs(3, 5, scale=1e3)),
        Case("zero gradient", gradient=given([0.0, 0.0, 0.0]), pairs=pairs(2, 3)),
        Case("float32", gradient=normal(6), pairs=pairs(3, 6)).float32(),
        Case("non-contiguous", gradient=normal(6), pairs=pairs(3, 6)).strided(),
    ],
    mutants={
        "scales to length 1": _direction_normalized,
        "changes the gradient": _direction_in_place,
        "updates as DFP does": _direction_of_dfp,
        "uses five pairs at most": _direction_of_five,
        "scales by the mean over the pairs": _direction_scaled_by_mean,
        "needs a pair": lambda gradient, steps, changes: (
            _direction(gradient, steps, changes) * (0 if len(steps) == 0 else 1)
        ),
        "steepest descent": lambda gradient, steps, changes: -gradient,
        "returns a column": lambda gradient, steps, changes: _direction(gradient, steps, changes)[:, None],
    },
    solutions={"with matrices": _direction_by_matrices, "recursively": _direction},
    equivalent=dict.fromkeys(
        (
            "lbfgs_direction: steps[i] @ q -> q @ steps[i]",
            "lbfgs_direction: steps[i] @ changes[i] -> changes[i] @ steps[i]",
            "lbfgs_direction: steps[-1] @ changes[-1] -> changes[-1] @ steps[-1]",
            "lbfgs_direction: changes[i] @ q -> q @ changes[i]",
            "lbfgs_direction: steps[i] @ changes[i] -> changes[i] @ steps[i] #2",
        ),
        "the product of two vectors does not depend on their order",
    ),
)
