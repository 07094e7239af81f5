"""GELU and maxout."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal

from .entrywise import entrywise_cases, entrywise_mutants, pair
from .squashing import sigmoid


def _cdf(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _density(x):
    return (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)


def _gelu(x):
    return x * _cdf(x)


def _gelu_slope(x):
    return _cdf(x) + x * _density(x)


def _gelu_by_tanh(x):
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


def _gelu_slope_by_tanh(x):
    t = (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh()
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)


gelu = Hidden(
    cases=entrywise_cases(),
    mutants={
        **entrywise_mutants(_gelu, _gelu_slope),
        "calls torch's GELU": pair(functional.gelu, _gelu_slope),
        "tanh approximation, in both directions": pair(_gelu_by_tanh, _gelu_slope_by_tanh),
        "tanh approximation in the gradient": pair(_gelu, _gelu_slope_by_tanh),
        "SiLU": pair(lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
        "erf without its 1": pair(lambda x: x * torch.erf(x / math.sqrt(2)) / 2, _gelu_slope),
        "multiplies by the root of 2 inside erf": pair(
            lambda x: x / 2 * (1 + torch.erf(x * math.sqrt(2))), _gelu_slope
        ),
        "keeps the factor 2 of erf's derivative": pair(_gelu, lambda x: _cdf(x) + 2 * x * _density(x)),
        "density of erf instead of the normal one": pair(
            _gelu, lambda x: _cdf(x) + x * 2 / math.sqrt(math.pi) * (-x.square()).exp()
        ),
        "takes the second term away": pair(_gelu, lambda x: _cdf(x) - x * _density(x)),
        "ReLU": pair(lambda x: x.clamp(min=0), lambda x: (x > 0).to(x.dtype)),
        "takes the minimum with Φ": pair(lambda x: torch.minimum(x, _cdf(x)), _gelu_slope),
    },
    solutions={
        "by erfc": pair(
            lambda x: x * torch.erfc(-x / 2**0.5) / 2,
            lambda x: (torch.erfc(-x / 2**0.5) + x * (2 / math.pi) ** 0.5 * torch.exp(-(x**2) / 2)) / 2,
        ),
        "by the distribution function": (
            lambda x: (x * torch.special.ndtr(x), (x, torch.special.ndtr(x))),
            lambda dout, cache: dout * (cache[1] + cache[0] * _density(cache[0])),
        ),
    },
)


def _scores(x, w, b):
    return x @ w + b[:, None]  # (P, N, M)


def _maxout_forward(x, w, b):
    scores = _scores(x, w, b)
    return scores.amax(0), (x, w, scores.argmax(0))


def _maxout_backward(dout, cache):
    x, w, winner = cache
    dscores = torch.stack([torch.where(winner == piece, dout, 0) for piece in range(len(w))])
    return (dscores @ w.mT).sum(0), x.T @ dscores, dscores.sum(1)


def _maxout_forward_by_loop(x, w, b):
    out = x @ w[0] + b[0]
    winner = torch.zeros(out.shape, dtype=torch.long, device=x.device)
    for piece in range(1, len(w)):
        scores = x @ w[piece] + b[piece]
        is_larger = scores > out
        out = torch.where(is_larger, scores, out)
        winner = torch.where(is_larger, piece, winner)
    return out, {"x": x, "w": w, "winner": winner}


def _maxout_backward_by_loop(dout, cache):
    x, w, winner = cache["x"], cache["w"], cache["winner"]
    dx, dw, db = torch.zeros_like(x), torch.zeros_like(w), w.new_zeros(w.shape[0], w.shape[2])
    for piece in range(len(w)):
        part = dout * (winner == piece)
        dx += part @ w[piece].T
        dw[piece] += x.T @ part
        db[piece] += part.sum(dim=0)
    return [dx, dw, db]


def _maxout_forward_by_gather(x, w, b):
    scores = (x[:, None, :, None] * w).sum(2) + b  # (N, P, M)
    winner = scores.argmax(1, keepdim=True)
    return scores.gather(1, winner).squeeze(1), (x, w, winner)


def _maxout_backward_by_gather(dout, cache):
    x, w, winner = cache
    dscores = dout.new_zeros(len(x), len(w), w.shape[2]).scatter_(1, winner, dout[:, None])  # (N, P, M)
    return (
        torch.einsum("npm,pdm->nd", dscores, w),
        torch.einsum("nd,npm->pdm", x, dscores),
        dscores.sum(0),
    )


def _maxout_changed(change):
    return _maxout_forward, lambda dout, cache: change(dout, cache, *_maxout_backward(dout, cache))


def _maxout_forward_in_place(x, w, b):
    b += 1
    out, cache = _maxout_forward(x, w, b - 1)
    return out, cache


def _maxout_one_winner_per_row(x, w, b):
    scores = _scores(x, w, b)
    winner = scores.sum(2).argmax(0)  # (N,)
    return scores[winner, torch.arange(len(x), device=x.device)], (x, w, winner[:, None].expand(-1, w.shape[2]))


def _maxout_by_size(x, w, b):
    scores = _scores(x, w, b)
    winner = scores.abs().argmax(0)
    return scores.gather(0, winner[None])[0], (x, w, winner)


def _maxout_input(**shapes):
    return {name: normal(*shapes[name]) for name in ("x", "w", "b", "dout")}


maxout = Hidden(
    cases=[
        Case("one piece", **_maxout_input(x=(3, 4), w=(1, 4, 5), b=(1, 5), dout=(3, 5))),
        Case("one image, one feature, one unit", **_maxout_input(x=(1, 1), w=(3, 1, 1), b=(3, 1), dout=(1, 1))),
        Case("square", **_maxout_input(x=(4, 4), w=(4, 4, 4), b=(4, 4), dout=(4, 4))),
        Case("many images", **_maxout_input(x=(23, 3), w=(5, 3, 2), b=(5, 2), dout=(23, 2))),
        Case("float32", **_maxout_input(x=(6, 5), w=(2, 5, 3), b=(2, 3), dout=(6, 3))).float32(),
        Case("non-contiguous", **_maxout_input(x=(6, 5), w=(3, 5, 4), b=(3, 4), dout=(6, 4))).strided(),
        Case(
            "all scores equal",
            x=normal(4, 3),
            w=given([[[0.0, 0.0]] * 3] * 3),
            b=given([[0.5, -0.5]] * 3),
            dout=normal(4, 2),
        ),
        Case(
            "all scores negative",
            x=normal(4, 3),
            w=normal(2, 3, 2, std=0.1),
            b=normal(2, 2, mean=-9),
            dout=normal(4, 2),
        ),
        Case("scores of 1e4", x=normal(4, 3, std=1e2), w=normal(3, 3, 2, std=1e2), b=normal(3, 2), dout=normal(4, 2)),
        Case("large biases", x=normal(5, 3), w=normal(3, 3, 2), b=normal(3, 2, std=4), dout=normal(5, 2)),
    ],
    mutants={
        "one winner per image": (_maxout_one_winner_per_row, _maxout_backward),
        "the winner is the farthest from 0": (_maxout_by_size, _maxout_backward),
        "starts from 0": (
            lambda x, w, b: (_scores(x, w, b).amax(0).clamp(min=0), (x, w, _scores(x, w, b).argmax(0))),
            (_maxout_backward),
        ),
        "only the first two pieces": (lambda x, w, b: _maxout_forward(x, w[:2], b[:2]), _maxout_backward),
        "writes over b": (_maxout_forward_in_place, _maxout_backward),
        "dw ignores the upstream gradient": _maxout_changed(
            lambda dout, cache, dx, dw, db: (dx, _maxout_backward(torch.ones_like(dout), cache)[1], db)
        ),
        "dx ignores the upstream gradient": _maxout_changed(
            lambda dout, cache, dx, dw, db: (_maxout_backward(torch.ones_like(dout), cache)[0], dw, db)
        ),
        "db for each image": _maxout_changed(lambda dout, cache, dx, dw, db: (dx, dw, db[:, None])),
        "dw transposed": _maxout_changed(lambda dout, cache, dx, dw, db: (dx, dw.mT, db)),
        "swaps dw and dx": _maxout_changed(lambda dout, cache, dx, dw, db: (dw, dx, db)),
        "gradients of the losers": _maxout_changed(lambda dout, cache, dx, dw, db: (dx, dw, dout.sum(0) - db)),
        "dx through the first piece": _maxout_changed(lambda dout, cache, dx, dw, db: (dout @ cache[1][0].T, dw, db)),
        "softmax instead of the maximum": (
            lambda x, w, b: (
                (_scores(x, w, b) * (_scores(x, w, b) - _scores(x, w, b).amax(0)).exp()).sum(0)
                / (_scores(x, w, b) - _scores(x, w, b).amax(0)).exp().sum(0),
                (x, w, _scores(x, w, b).argmax(0)),
            ),
            _maxout_backward,
        ),
    },
    solutions={
        "loop over pieces": (_maxout_forward_by_loop, _maxout_backward_by_loop),
        "gather and scatter, images first": (_maxout_forward_by_gather, _maxout_backward_by_gather),
        "stacked products": (_maxout_forward, _maxout_backward),
    },
)
