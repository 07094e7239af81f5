"""Rules that use the gradient as it is: plain steps, momentum, Nesterov's."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, normal

from .rules import by_torch, cases, changes_state, in_place, keeps_first_rate


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
    cases=cases(),
    mutants={
        "changes w in place": in_place(_sgd),
        "keeps the first learning rate": keeps_first_rate(_sgd),
        "uses torch.optim": by_torch(torch.optim.SGD),
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
    cases=[*cases(momentum=0.9), *_MOMENTS],
    mutants={
        "changes w in place": in_place(_momentum),
        "changes the state": changes_state(_momentum),
        "keeps the first learning rate": keeps_first_rate(_momentum),
        "uses torch.optim": by_torch(torch.optim.SGD),
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
        *cases(momentum=0.9),
        Case("momentum 0.1", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.1),
        Case("momentum 0.99", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.99),
    ],
    mutants={
        "changes w in place": in_place(_nesterov),
        "changes the state": changes_state(_nesterov),
        "keeps the first learning rate": keeps_first_rate(_nesterov),
        "uses torch.optim": by_torch(torch.optim.SGD, lambda options: {**options, "nesterov": True}),
        "takes 0.9 whatever is passed": lambda w, dw, state, lr, momentum: _nesterov(w, dw, state, lr),
        "interpolates between gradient steps": _nesterov_by_two_points,
        "starts each step anew": lambda w, dw, state, lr, momentum: (w - lr * (1 + momentum) * dw, {}),
    },
    solutions={"expanded": _nesterov_expanded, "carries the part that is kept": _nesterov_by_kept_part},
)
