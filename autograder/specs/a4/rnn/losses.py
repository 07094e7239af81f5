"""The loss of sequences, and clipping."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, drawn, given, integers, normal
from dlcvkit.exercises.a4.rnn.clipping import rnn_gradients

# The loss.


def _loss(x, y, mask, fault=""):
    top = x.amax((1, 2), keepdim=True) if fault == "largest score of the sequence" else x.amax(2, keepdim=True)
    if fault == "largest score of the batch":
        top = x.max()
    powers = (x - top).exp()
    probabilities = powers / powers.sum(2, keepdim=True)
    logs = x - top - powers.sum(2, keepdim=True).log()
    if fault == "log of the probability":
        logs = probabilities.log()
    if fault == "small number in the log":
        logs = (probabilities + 1e-6).log()
    right = torch.zeros_like(x).scatter(2, y[..., None], 1.0)
    count = len(x)
    if fault == "divides by the steps of the longest sequence":
        count = max(int(mask.sum(1).max()), 1)
    m = mask.to(x.dtype)
    if fault == "everything after the first padded step":
        m = m.cumprod(1)
    if fault == "the first step always counts":
        m = torch.cat([torch.ones_like(m[:, :1]), m[:, 1:]], 1)
    loss = -((logs * right).sum(2) * m).sum() / count
    dx = (probabilities - right) * m[..., None] / count
    if fault == "gradient averaged over steps":
        dx = dx / x.shape[1]
    if fault == "gradient of the scores alone":
        dx = probabilities * m[..., None] / count
    if fault == "gradient flat":
        dx = dx.flatten(0, 1)
    if fault == "in bits":
        loss = loss / 0.6931471805599453
    return loss, dx


def _loss_of_the_counted(x, y, mask):
    """Picks the steps that count, and leaves the others alone."""
    scores, words = x[mask], y[mask]
    logs = scores - torch.logsumexp(scores, dim=1, keepdim=True)
    rows = torch.arange(len(words), device=x.device)
    slopes = logs.exp()
    slopes[rows, words] -= 1
    dx = torch.zeros_like(x)
    dx[mask] = slopes / len(x)
    return -logs[rows, words].sum() / len(x), dx


def _loss_step_by_step(x, y, mask):
    total, dx = 0.0, torch.zeros_like(x)
    for n in range(x.shape[0]):
        for t in range(x.shape[1]):
            if not mask[n, t]:
                continue
            powers = (x[n, t] - x[n, t].max()).exp()
            total += float(powers.sum().log() - (x[n, t, y[n, t]] - x[n, t].max()))
            dx[n, t] = powers / powers.sum() / len(x)
            dx[n, t, y[n, t]] -= 1 / len(x)
    return total / len(x), dx


def _loss_in_place(x, y, mask):
    x -= x.amax(2, keepdim=True)
    return _loss(x, y, mask)


def _loss_by_torch(x, y, mask):
    penalties = -functional.log_softmax(x, 2).gather(2, y[..., None])[..., 0]
    return (penalties * mask).sum() / len(x), _loss(x, y, mask)[1]


def _random_mask(N, T):
    """Describe a mask with gaps, as when words in the middle are not to be predicted."""
    return drawn(lambda g: torch.rand(N, T, generator=g) < 0.6)


def _full(N, T):
    return given([[True] * T] * N, torch.bool)


def _case(name, N, T, V, mask=None, **scale):
    return Case(name, x=normal(N, T, V, **scale), y=integers(N, T, high=V), mask=mask or _random_mask(N, T))


temporal_softmax_loss = Hidden(
    cases=[
        _case("one sequence, one step", 1, 1, 4, _full(1, 1)),
        _case("one step, one sequence of two padded", 2, 1, 3, given([[True], [False]], torch.bool)),
        _case("nothing counts", 2, 3, 4, given([[False] * 3] * 2, torch.bool)),
        _case("gaps in the mask", 4, 6, 5),
        _case("padding in front", 2, 4, 3, given([[False, False, True, True], [False, True, True, True]], torch.bool)),
        _case("17 steps", 3, 17, 4),
        _case("as many steps as words", 2, 4, 4, _full(2, 4)),
        _case("two words", 3, 4, 2),
        _case("scores of 10,000 with gaps", 3, 5, 4, std=1e4),
        _case("scores of -10,000", 2, 3, 4, mean=-1e4),
        Case(
            "a sequence of large and one of small scores",
            x=drawn(lambda g: torch.randn(2, 3, 4, generator=g).double() + torch.tensor([[[900.0]], [[-900.0]]])),
            y=integers(2, 3, high=4),
            mask=_full(2, 3),
        ),
        Case(
            "large and small scores in one sequence",
            x=drawn(lambda g: torch.randn(1, 2, 3, generator=g).double() + torch.tensor([[[900.0], [-900.0]]])),
            y=integers(1, 2, high=3),
            mask=_full(1, 2),
        ),
        _case("memory with gaps", 3, 4, 5).strided(),
        _case("float32", 3, 4, 5).float32(),
    ],
    mutants={
        **{
            name: lambda *inputs, name=name: _loss(*inputs, name)
            for name in (
                "largest score of the sequence",
                "largest score of the batch",
                "log of the probability",
                "small number in the log",
                "divides by the steps of the longest sequence",
                "everything after the first padded step",
                "the first step always counts",
                "gradient averaged over steps",
                "gradient of the scores alone",
                "gradient flat",
                "in bits",
            )
        },
        "changes x": _loss_in_place,
        "uses torch's": _loss_by_torch,
        "returns the loss alone": lambda *inputs: _loss(*inputs)[0],
        "gradient first": lambda *inputs: _loss(*inputs)[::-1],
    },
    solutions={
        "counted steps only": _loss_of_the_counted,
        "step by step": _loss_step_by_step,
        "one-hot": lambda *inputs: _loss(*inputs),
    },
)

# Clipping.


def _clip(grads, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in grads.values()]).norm()
    factor = 1.0 if norm <= max_norm else max_norm / norm
    if norm == float("inf"):
        return {name: gradient.new_zeros(gradient.shape) for name, gradient in grads.items()}, norm
    return {name: gradient * factor for name, gradient in grads.items()}, norm


def _clip_as_torch(grads, max_norm):
    total = sum(float((gradient * gradient).sum()) for gradient in grads.values()) ** 0.5
    factor = min(1.0, max_norm / (total + 1e-6))
    scaled = {name: factor * gradient for name, gradient in grads.items()}
    return {name: g if total < float("inf") else torch.zeros_like(g) for name, g in scaled.items()}, total


def _clip_scaled(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    return {name: gradient * (max_norm / norm).clamp(max=1.0) for name, gradient in grads.items()}, norm


def _clip_in_place(grads, max_norm):
    clipped, norm = _clip(grads, max_norm)
    for name, gradient in grads.items():
        gradient.copy_(clipped[name])
    return grads, norm


def _clip_with(norm=None, scale=None):
    def variant(grads, max_norm):
        clipped, right = _clip(grads, max_norm)
        if not right.isfinite():
            return clipped, right
        found = right if norm is None else norm(grads)
        factor = (max_norm / found).clamp(max=1.0) if scale is None else scale(found, max_norm)
        return {name: gradient * factor for name, gradient in grads.items()}, found

    return variant


def _clip_by_torch(grads, max_norm):
    parameters = {name: torch.zeros_like(gradient) for name, gradient in grads.items()}
    for name, parameter in parameters.items():
        parameter.grad = grads[name].clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm)
    return {
        name: parameter.grad if norm.isfinite() else 0 * grads[name] for name, parameter in parameters.items()
    }, norm


def _clip_skips_large(grads, max_norm):
    clipped, norm = _clip(grads, max_norm)
    return {name: gradient * float(norm <= 1e3) for name, gradient in clipped.items()}, norm


def _clip_infinite_as_it_is(grads, max_norm):
    clipped, norm = _clip(grads, max_norm)
    return (clipped if norm.isfinite() else dict(grads)), norm


def _clip_infinite_to_limit(grads, max_norm):
    clipped, norm = _clip(grads, max_norm)
    if norm.isfinite():
        return clipped, norm
    return {name: gradient.nan_to_num(posinf=max_norm, neginf=-max_norm) for name, gradient in grads.items()}, norm


def _clip_rows(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    rows = {name: g.norm(dim=-1, keepdim=True).clamp(min=1e-9) for name, g in grads.items()}
    clipped = {name: g * (max_norm / rows[name]).clamp(max=1.0) for name, g in grads.items()}
    return {name: g if norm.isfinite() else torch.zeros_like(g) for name, g in clipped.items()}, norm


def _first_norm(grads):
    return next(iter(grads.values())).norm()


clip_grad_norm = Hidden(
    cases=[
        Case("zero gradients", grads={"W": given([[0.0, 0.0]]), "b": given([0.0])}, max_norm=1.0),
        Case("exactly max_norm", grads={"W": given([[3.0], [0.0]]), "b": given([4.0])}, max_norm=5.0),
        Case("one tensor", grads={"Wh": normal(4, 4)}, max_norm=1.0),
        Case("one number", grads={"scale": given(-7.0)}, max_norm=2.0),
        Case("one large among small", grads={"Wh": normal(4, 4, std=0.01), "b": given([1e4, -2e4])}, max_norm=1.0),
        Case("a norm below 1", grads=rnn_gradients(0.05), max_norm=0.9),
        Case("a limit below 1", grads=rnn_gradients(0.5), max_norm=0.1),
        Case("minus infinity", grads={"W": given([[-float("inf"), 1.0]]), "b": given([0.0, 2.0])}, max_norm=3.0),
        Case(
            "infinite in several tensors",
            grads={"W": given([float("inf")] * 2), "b": given(-float("inf"))},
            max_norm=1.0,
        ),
        Case("float32", grads=rnn_gradients(9.0), max_norm=4.0).float32(),
        Case("memory with gaps", grads=rnn_gradients(9.0), max_norm=4.0).strided(),
    ],
    mutants={
        "changes the gradients": _clip_in_place,
        "multiplies infinity by 0": _clip_scaled,
        "looks at the first tensor alone": _clip_with(_first_norm),
        "leaves vectors out": _clip_with(
            lambda grads: torch.stack([g.norm() for g in grads.values() if g.dim() > 1]).norm()
        ),
        "clips every row": _clip_rows,
        "scales whatever the norm": _clip_with(scale=lambda norm, limit: limit / norm.clamp(min=1e-9)),
        "throws large gradients away": _clip_with(scale=lambda norm, limit: (norm <= limit).to(norm.dtype)),
        "throws very large gradients away": _clip_skips_large,
        "divides 0 by 0": _clip_with(scale=lambda norm, limit: norm.clamp(max=limit) / norm),
        "leaves infinite gradients as they are": _clip_infinite_as_it_is,
        "brings infinite entries to the limit": _clip_infinite_to_limit,
        "uses torch.nn.utils": _clip_by_torch,
        "returns the gradients alone": lambda grads, max_norm: _clip(grads, max_norm)[0],
        "norm before gradients": lambda grads, max_norm: _clip(grads, max_norm)[::-1],
        "returns a list": lambda grads, max_norm: (list(_clip(grads, max_norm)[0].values()), _clip(grads, max_norm)[1]),
    },
    solutions={"one long vector": _clip, "as torch does, a Python number": _clip_as_torch},
)
