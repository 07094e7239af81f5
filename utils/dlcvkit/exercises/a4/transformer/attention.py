"""Attention by torch, ways to spoil it, and the exercises on attention as a function."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Function, Mistake, Speed, drawn, normal


def mask(*shape, blocked=()):
    """Describe a mask of shape (..., S, T): every row has its first position and others at random, or none."""

    def draw(generator):
        allowed = torch.rand(shape, generator=generator) < 0.5
        allowed[..., torch.arange(shape[-2]), torch.arange(shape[-2]) % shape[-1]] = True
        for row in blocked:
            allowed[..., row, :] = False
        return allowed

    return drawn(draw)


def attend(q, k, v, mask=None):
    """Attention as torch computes it, with zeros for rows that have nothing to attend to."""
    if mask is None:
        return functional.scaled_dot_product_attention(q, k, v)
    has_any = mask.any(dim=-1, keepdim=True)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask | ~has_any)
    return torch.where(has_any, out, 0.0)


def share(q, k, mask=None, fault=""):
    """The weights, spoilt by one ``fault``."""
    D, (S, T) = q.shape[-1], (q.shape[-2], k.shape[-2])
    scale = {"no scale": 1.0, "by D": D, "by the root of T": math.sqrt(T), "by the root of S": math.sqrt(S)}
    scores = q @ k.mT / scale.get(fault, math.sqrt(D))
    if mask is None or fault == "no mask":
        return _softmax(scores, fault)
    if fault == "inverted":
        mask = ~mask
    if fault == "after the softmax":
        return scores.softmax(dim=-1) * mask
    if fault == "zero scores":
        return scores.masked_fill(~mask, 0.0).softmax(dim=-1)
    if fault == "mask added":
        return (scores + mask).softmax(dim=-1)
    low = -1e9 if fault == "blocked rows uniform" else -math.inf
    scores = scores.masked_fill(~mask, low)
    if fault in ("blocked rows uniform", "blocked rows NaN"):
        return scores.softmax(dim=-1)
    return _softmax(scores, fault)


def _softmax(scores, fault):
    if fault == "overflow":
        exps = scores.exp()
        return exps / exps.sum(dim=-1, keepdim=True)
    if fault == "over the queries":
        return scores.softmax(dim=-2).nan_to_num(0.0)
    if fault == "over everything":
        return scores.flatten(-2).softmax(dim=-1).unflatten(-1, scores.shape[-2:]).nan_to_num(0.0)
    if fault == "no softmax":
        return scores.masked_fill(scores == -math.inf, 0.0)
    return scores.softmax(dim=-1).nan_to_num(0.0)


def _spoilt_weights(fault):
    return lambda q, k, mask=None: share(q, k, mask, fault)


FAULTS = {
    "leaves the division by the root of D out": (
        "no scale",
        "how large do scores get when D grows? one step stands between the product and the softmax",
    ),
    "divides by D instead of its root": ("by D", "the standard deviation of a score is compared with D in the text"),
    "divides by the root of T, the number of keys": (
        "by the root of T",
        "which axis is summed over in a score? its length is what counts",
    ),
    "takes the softmax over the queries": (
        "over the queries",
        "every query has one unit of attention to share out: along which axis do weights add up to 1?",
    ),
    "leaves the softmax out": ("no softmax", "scores may be negative; weights may not"),
    "ignores the mask": ("no mask", "where in your code does the mask come in?"),
    "takes True for blocked": ("inverted", "True stands for: may attend"),
    "applies the mask after the softmax": (
        "after the softmax",
        "the allowed weights of a row have to add up to 1, so the softmax must not see the blocked scores",
    ),
    "sets blocked scores to 0": ("zero scores", "what is exp(0)? a score of 0 is an ordinary score"),
    "adds the mask to the scores": ("mask added", "True is 1 in a sum, and a score that is 1 larger is not blocked"),
    "gives equal weights to a row that is blocked as a whole": (
        "blocked rows uniform",
        "if all scores of a row are the same huge negative number, what does the softmax make of them?",
    ),
    "gives NaN for a row that is blocked as a whole": (
        "blocked rows NaN",
        "for a row with nothing to attend to the softmax is 0 / 0, or has infinity minus infinity in it",
    ),
    "overflows where scores are large": (
        "overflow",
        "exp(710) is infinite in float64: a number may be subtracted from all scores of a row first",
    ),
}


def _weights_mistakes(make, leave=()):
    return [Mistake(name, make(fault), hint=hint) for name, (fault, hint) in FAULTS.items() if fault not in leave]


attention_weights = Function(
    functions=("attention_weights",),
    reference=share,
    cases=[
        Case("3 queries, 5 keys", q=normal(2, 3, 4), k=normal(2, 5, 4), mask=None),
        Case("a mask, two heads", q=normal(2, 2, 4, 3), k=normal(2, 2, 5, 3), mask=mask(4, 5)),
        Case("a row that is blocked as a whole", q=normal(2, 3, 4), k=normal(2, 6, 4), mask=mask(2, 3, 6, blocked=[1])),
        Case("large scores", q=normal(1, 2, 4, std=100.0), k=normal(1, 3, 4, std=50.0), mask=None),
    ],
    points={"weights": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    is_loop_free=True,
    mistakes=_weights_mistakes(_spoilt_weights),
)


def _spoilt_naive(fault):
    return lambda q, k, v, mask=None: share(q, k, mask, fault) @ v


attention_naive = Function(
    functions=("attention_naive",),
    reference=attend,
    cases=[
        Case("3 queries, 5 keys", q=normal(2, 3, 4), k=normal(2, 5, 4), v=normal(2, 5, 6), mask=None),
        Case(
            "a mask and a blocked row",
            q=normal(2, 3, 4),
            k=normal(2, 6, 4),
            v=normal(2, 6, 2),
            mask=mask(2, 3, 6, blocked=[1]),
        ),
    ],
    points={"out": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        *_weights_mistakes(_spoilt_naive, leave=("over the queries", "overflow")),
        Mistake(
            "takes the plain mean of the values",
            lambda q, k, v, mask=None: v.mean(dim=-2, keepdim=True).expand(*q.shape[:-1], v.shape[-1]),
            hint="values are weighed by the softmax of the scores",
        ),
    ],
)


def by_hand(q, k, v, mask, dout, fault=""):
    """Output and gradients by the formulas, spoilt by one ``fault`` of the way back."""
    root = math.sqrt(q.shape[-1])
    w = share(q, k, mask)
    dw = dout @ v.mT
    inner = w * dw
    if fault == "sum over the queries":
        ds = inner - w * inner.sum(dim=-2, keepdim=True)
    elif fault == "sum not weighed":
        ds = inner - w * dw.sum(dim=-1, keepdim=True)
    elif fault == "mean for the sum":
        ds = inner - w * inner.mean(dim=-1, keepdim=True)
    elif fault == "sum added":
        ds = inner + w * inner.sum(dim=-1, keepdim=True)
    elif fault == "sum without weights in front":
        ds = inner - inner.sum(dim=-1, keepdim=True)
    else:
        ds = inner - w * inner.sum(dim=-1, keepdim=True)
    ds = {"diagonal only": inner, "no softmax": dw, "softmax of one entry": inner * (1 - w)}.get(fault, ds)
    dq, dk, dv = ds @ k / root, ds.mT @ q / root, w.mT @ dout
    changes = {
        "dq not scaled": (dq * root, dk, dv),
        "dk not scaled": (dq, dk * root, dv),
        "neither scaled": (dq * root, dk * root, dv),
        "scaled by D": (dq / root, dk / root, dv),
        "dv scaled": (dq, dk, dv / root),
        "dv of scores": (dq, dk, ds.mT @ dout),
        "dv of raw scores": (dq, dk, (q @ k.mT / root).mT @ dout),
        "signs": (-dq, -dk, dv),
    }
    return (w @ v, *changes.get(fault, (dq, dk, dv)))


def _spoilt_gradient(fault):
    return lambda q, k, v, mask, dout: by_hand(q, k, v, mask, dout, fault)


def loops(q, k, v, mask=None, dout=None):
    """Attention query by query."""
    out = q.new_zeros(*q.shape[:-1], v.shape[-1])
    for n in range(q.shape[0]):
        for s in range(q.shape[1]):
            out[n, s] = share(q[n, s : s + 1], k[n]) @ v[n]
    return out


def attention_case(name, queries, keys, M, mask=None, **std):
    """Describe a case: shapes of q and k, features of v; ``std`` may hold those of q, k, v and dout."""
    return Case(
        name,
        q=normal(*queries, std=std.get("q", 1.0)),
        k=normal(*keys, std=std.get("k", 1.0)),
        v=normal(*keys[:-1], M, std=std.get("v", 1.0)),
        mask=mask,
        dout=normal(*queries[:-1], M, std=std.get("dout", 1.0)),
    )


scaled_dot_product_attention = ForwardBackward(
    functions=("scaled_dot_product_attention_forward", "scaled_dot_product_attention_backward"),
    reference=attend,
    cases=[
        attention_case("3 queries, 5 keys", (2, 3, 4), (2, 5, 4), 6),
        attention_case("a mask, two heads", (2, 2, 4, 3), (2, 2, 5, 3), 2, mask(4, 5)),
        attention_case("a row that is blocked as a whole", (2, 3, 4), (2, 6, 4), 5, mask(2, 3, 6, blocked=[1])),
    ],
    points={"out": 2, "dq": 2, "dk": 2, "dv": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    is_loop_free=True,
    speed=Speed(loops, factor=10, case=attention_case("", (8, 32, 16), (8, 32, 16), 16)),
    mistakes=[
        *_weights_mistakes(_spoilt_naive, leave=("overflow",)),
        Mistake(
            "goes back through the softmax with the diagonal of its Jacobian alone",
            _spoilt_gradient("diagonal only"),
            hint="every weight depends on all scores of its row, through the sum in the denominator",
        ),
        Mistake(
            "takes the derivative of a sigmoid for that of the softmax",
            _spoilt_gradient("softmax of one entry"),
            hint="every weight depends on all scores of its row, through the sum in the denominator",
        ),
        Mistake(
            "does not go back through the softmax",
            _spoilt_gradient("no softmax"),
            hint="what you have is the gradient of the weights; the scores come before the softmax",
        ),
        Mistake(
            "sums over the queries on the way back through the softmax",
            _spoilt_gradient("sum over the queries"),
            hint="the sum runs along the axis that the softmax ran along",
        ),
        Mistake(
            "leaves the weights out of the sum on the way back through the softmax",
            _spoilt_gradient("sum not weighed"),
            hint="look at what stands inside the sum",
        ),
        Mistake(
            "takes a mean instead of the sum on the way back through the softmax",
            _spoilt_gradient("mean for the sum"),
            hint="nothing is averaged here: the Jacobian has a sum",
        ),
        Mistake(
            "adds the sum instead of subtracting it on the way back through the softmax",
            _spoilt_gradient("sum added"),
            hint="look at the sign of the second term of the softmax's Jacobian",
        ),
        Mistake(
            "forgets the weight in front of the sum on the way back through the softmax",
            _spoilt_gradient("sum without weights in front"),
            hint="both terms of the softmax's Jacobian have the weight as a factor",
        ),
        Mistake(
            "forgets the root of D in dq",
            _spoilt_gradient("dq not scaled"),
            hint="the division by the root of D is a step of its own, and so it is on the way back",
        ),
        Mistake(
            "forgets the root of D in dk",
            _spoilt_gradient("dk not scaled"),
            hint="the division by the root of D is a step of its own, and so it is on the way back",
        ),
        Mistake(
            "divides by the root of D twice on the way back",
            _spoilt_gradient("scaled by D"),
            hint="one division on the way there, one on the way back",
        ),
        Mistake(
            "divides dv by the root of D",
            _spoilt_gradient("dv scaled"),
            hint="the values come in after the scores, which are what is divided",
        ),
        Mistake(
            "computes dv with the gradient of the scores in place of the weights",
            _spoilt_gradient("dv of scores"),
            hint="out is the product of two matrices: which one is not v?",
        ),
        Mistake(
            "computes dv with the raw scores in place of the weights",
            _spoilt_gradient("dv of raw scores"),
            hint="out is the product of two matrices: which one is not v?",
        ),
    ],
)
