"""Attention as a function."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.exercises.a4.transformer.attention import FAULTS, attention_case, by_hand, mask, share

_FAULTS = [fault for fault, _ in FAULTS.values()]


def _weights_case(name, q, k, mask=None, q_std=1.0, k_std=1.0):
    return Case(name, q=normal(*q, std=q_std), k=normal(*k, std=k_std), mask=mask)


def _weights_by_product(q, k, mask=None):
    scores = torch.einsum("...sd,...td->...st", q, k) * q.shape[-1] ** -0.5
    allowed = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand(scores.shape)
    scores = torch.where(allowed, scores, torch.finfo(scores.dtype).min)
    exps = (scores - scores.max(dim=-1, keepdim=True).values).exp() * allowed
    return exps / exps.sum(dim=-1, keepdim=True).clamp(min=1e-30)


def _weights_by_logarithms(q, k, mask=None):
    scores = (q / q.shape[-1] ** 0.5) @ k.transpose(-1, -2)
    if mask is None:
        return (scores - scores.logsumexp(dim=-1, keepdim=True)).exp()
    scores = torch.where(mask, scores, -torch.inf)
    weights = (scores - scores.logsumexp(dim=-1, keepdim=True)).exp()
    return torch.where(mask, weights, 0.0)


def _weights_changing_q(q, k, mask=None):
    q /= math.sqrt(q.shape[-1])
    return share(q * math.sqrt(q.shape[-1]), k, mask)


def _weights_changing_the_mask(q, k, mask=None):
    if mask is None:
        return share(q, k)
    right = share(q, k, mask)
    mask.logical_not_()
    return right


def _weights_with_one_maximum(q, k, mask=None):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    exps = (scores - scores.max()).exp()
    exps = exps if mask is None else exps * mask
    return exps / exps.sum(dim=-1, keepdim=True).clamp(min=1e-30)


def _weights_with_blocked_maximum(q, k, mask=None):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    exps = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    exps = exps if mask is None else exps * mask
    return exps / exps.sum(dim=-1, keepdim=True).clamp(min=1e-30)


def _weights_with_a_billion(q, k, mask=None):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is None:
        return share(q, k)
    scores = scores.masked_fill(~mask, -1e9)
    exps = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return exps / exps.sum(dim=-1, keepdim=True) * mask


def _weights_in_a_loop(q, k, mask=None):
    weights = share(q, k, mask)
    for row in range(q.shape[-2]):
        weights[..., row, :] = share(q, k, mask)[..., row, :]
    return weights


def _weights_with_an_epsilon(q, k, mask=None):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    exps = (scores - scores.amax(dim=-1, keepdim=True).nan_to_num(0.0, neginf=0.0)).exp()
    return exps / (exps.sum(dim=-1, keepdim=True) + 1e-3)


def _fault(fault):
    return lambda q, k, mask=None: share(q, k, mask, fault)


attention_weights = Hidden(
    cases=[
        _weights_case("one sequence", (1, 4, 3), (1, 2, 3)),
        _weights_case("one query", (2, 1, 3), (2, 4, 3), mask(2, 1, 4)),
        _weights_case("one key", (2, 3, 2), (2, 1, 2), mask(3, 1, blocked=[2])),
        _weights_case("one feature", (2, 3, 1), (2, 4, 1), mask(3, 4)),
        _weights_case(
            "a mask of padding, the same for all heads and queries", (2, 3, 4, 2), (2, 3, 5, 2), mask(2, 1, 1, 5)
        ),
        _weights_case("a mask for each sequence", (3, 2, 4, 2), (3, 2, 4, 2), mask(3, 1, 4, 4, blocked=[0, 3])),
        _weights_case("a mask for each head", (2, 3, 4, 2), (2, 3, 4, 2), mask(2, 3, 4, 4)),
        _weights_case("all rows blocked", (2, 2, 3), (2, 4, 3), mask(2, 4, blocked=[0, 1])),
        _weights_case("large scores under a mask", (2, 6, 4), (2, 7, 4), mask(6, 7, blocked=[4]), 100.0, 100.0),
        _weights_case("huge scores under a mask", (2, 6, 4), (2, 7, 4), mask(6, 7, blocked=[1]), 1e6, 1e6),
        _weights_case("non-contiguous", (2, 3, 4, 2), (2, 3, 5, 2), mask(4, 5, blocked=[1])).strided(),
        _weights_case("float32", (2, 3, 4), (2, 5, 4), mask(2, 3, 5, blocked=[1])).float32(),
        _weights_case("float32, large scores", (2, 3, 4), (2, 5, 4), mask(3, 5), 30.0, 30.0).float32(),
    ],
    mutants={
        **{fault: _fault(fault) for fault in ("by the root of S", "over everything")},
        "changes q": _weights_changing_q,
        "changes the mask": _weights_changing_the_mask,
        "one maximum for all": _weights_with_one_maximum,
        "the maximum of blocked scores": _weights_with_blocked_maximum,
        "minus a billion": _weights_with_a_billion,
        "a loop": _weights_in_a_loop,
        "an epsilon in the denominator": _weights_with_an_epsilon,
        "torch's softmax": lambda q, k, mask=None: functional.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1),
    },
    solutions={"a factor of 0": _weights_by_product, "by logarithms": _weights_by_logarithms},
    equivalent={
        "attention_weights: top.masked_fill(top == -math.inf, 0.0) -> top.masked_fill(top == -math.inf, 1.0)": (
            "any finite number may be subtracted from scores of minus infinity"
        ),
        **{
            f"attention_weights: total.masked_fill(total == 0, 1.0) -> total.masked_fill(total == 0, {number})": (
                "the numerators are 0, so any denominator but 0 will do"
            )
            for number in (2.0, 0.5, -1.0)
        },
    },
)


def _naive_by_numbers(q, k, v, mask=None):
    rows = []
    for n in range(len(q)):
        for s in range(q.shape[1]):
            scores = [float(q[n, s] @ k[n, t]) / q.shape[2] ** 0.5 for t in range(k.shape[1])]
            allowed = [t for t in range(k.shape[1]) if mask is None or bool(mask[n, s, t])]
            top = max((scores[t] for t in allowed), default=0.0)
            exps = {t: math.exp(scores[t] - top) for t in allowed}
            total = sum(exps.values())
            rows.append(sum((v[n, t] * (e / total) for t, e in exps.items()), torch.zeros_like(v[n, 0])))
    return torch.stack(rows).reshape(len(q), q.shape[1], v.shape[2])


def _naive_by_sequences(q, k, v, mask=None):
    out = torch.empty(len(q), q.shape[1], v.shape[2], dtype=v.dtype, device=v.device)
    for n in range(len(q)):
        out[n] = _weights_by_product(q[n], k[n], None if mask is None else mask[n]) @ v[n]
    return out


def _naive(fault):
    return lambda q, k, v, mask=None: share(q, k, mask, fault) @ v


def _first_sequence(q, k, v, mask=None):
    return (share(q[:1], k[:1], None if mask is None else mask[:1]) @ v[:1]).expand(len(q), -1, -1)


def _naive_case(name, queries, keys, M, mask=None, **std):
    inputs = attention_case(name, queries, keys, M, mask, **std).inputs
    return Case(name, **{key: inputs[key] for key in ("q", "k", "v", "mask")})


attention_naive = Hidden(
    cases=[
        _naive_case("one sequence, one query", (1, 1, 3), (1, 4, 3), 2),
        _naive_case("one key", (2, 3, 2), (2, 1, 2), 3, mask(2, 3, 1, blocked=[0])),
        _naive_case("one feature, one value", (3, 2, 1), (3, 3, 1), 1),
        _naive_case("all rows blocked", (2, 2, 3), (2, 4, 3), 2, mask(2, 2, 4, blocked=[0, 1])),
        _naive_case("large scores under a mask", (2, 4, 4), (2, 5, 4), 3, mask(2, 4, 5, blocked=[2]), q=100.0, k=100.0),
        _naive_case("non-contiguous", (2, 3, 4), (2, 5, 4), 3, mask(2, 3, 5, blocked=[2])).strided(),
        _naive_case("float32", (2, 3, 4), (2, 5, 4), 6, mask(2, 3, 5)).float32(),
    ],
    mutants={
        **{fault: _naive(fault) for fault in ("overflow", "over the queries", "by the root of S")},
        "the root of the value's features": lambda q, k, v, mask=None: (
            share(q * (q.shape[-1] / v.shape[-1]) ** 0.5, k, mask) @ v
        ),
        "the first sequence for all": _first_sequence,
        "changes q": lambda q, k, v, mask=None: _weights_changing_q(q, k, mask) @ v,
        "torch's own": functional.scaled_dot_product_attention,
    },
    solutions={"numbers of Python": _naive_by_numbers, "sequence by sequence": _naive_by_sequences},
)


def _forward(q, k, v, mask=None, fault=""):
    return share(q, k, mask, fault) @ v, (q, k, v, mask)


def _backward(dout, cache, fault=""):
    return by_hand(*cache, dout, fault)[1:]


def _forward_fault(fault):
    return lambda q, k, v, mask=None: _forward(q, k, v, mask, fault), _backward


def _backward_fault(fault):
    return _forward, lambda dout, cache: _backward(dout, cache, fault)


def _with_uniform_rows(dout, cache):
    q, k, v, allowed = cache
    if allowed is None:
        return _backward(dout, cache)
    w = share(q, k, allowed, "blocked rows uniform")
    dw = dout @ v.mT
    ds = w * (dw - (w * dw).sum(dim=-1, keepdim=True)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.mT @ q, w.mT @ dout


def _changes_dout(dout, cache):
    gradients = _backward(dout, cache)
    dout *= 2
    return gradients


def _forward_keeping_out(q, k, v, mask=None):
    weights = _weights_by_logarithms(q, k, mask)
    out = torch.einsum("...st,...tm->...sm", weights, v)
    return out, {"given": (q, k, v), "weights": weights, "out": out}


def _backward_with_out(dout, cache):
    q, k, v = cache["given"]
    P, scale = cache["weights"], cache["given"][0].shape[-1] ** -0.5
    inner = (dout * cache["out"]).sum(dim=-1, keepdim=True)
    dA = P * (torch.einsum("...sm,...tm->...st", dout, v) - inner)
    dq, dk = torch.einsum("...st,...td->...sd", dA, k), torch.einsum("...st,...sd->...td", dA, q)
    return scale * dq, scale * dk, torch.einsum("...st,...sm->...tm", P, dout)


def _forward_with_product(q, k, v, mask=None):
    scaled = q / q.shape[-1] ** 0.5
    P = _weights_by_product(q, k, mask)
    return P @ v, (scaled, k, v, P)


def _backward_with_jacobian(dout, cache):
    scaled, k, v, P = cache
    jacobian = torch.diag_embed(P) - P[..., :, None] * P[..., None, :]  # (..., S, T, T)
    dA = ((dout @ v.mT)[..., None, :] @ jacobian)[..., 0, :]
    return dA @ k / scaled.shape[-1] ** 0.5, dA.mT @ scaled, P.mT @ dout


scaled_dot_product_attention = Hidden(
    cases=[
        attention_case("one sequence", (1, 4, 3), (1, 2, 3), 2),
        attention_case("one query", (2, 1, 3), (2, 4, 3), 2, mask(2, 1, 4)),
        attention_case("one key", (2, 3, 2), (2, 1, 2), 3, mask(3, 1, blocked=[0])),
        attention_case("one feature, one value", (2, 3, 1), (2, 4, 1), 1),
        attention_case("as many queries as keys and features", (3, 3, 3), (3, 3, 3), 3, mask(3, 3)),
        attention_case("padding, three heads", (2, 3, 4, 2), (2, 3, 5, 2), 3, mask(2, 1, 1, 5)),
        attention_case("a mask per sequence", (2, 2, 3, 4), (2, 2, 3, 4), 4, mask(2, 1, 3, 3, blocked=[1])),
        attention_case("all rows blocked", (2, 2, 3), (2, 4, 3), 2, mask(2, 4, blocked=[0, 1])),
        attention_case("large scores under a mask", (2, 4, 4), (2, 5, 4), 3, mask(4, 5, blocked=[2]), q=100.0, k=100.0),
        attention_case("small gradient", (2, 3, 4), (2, 5, 4), 3, dout=1e-4),
        attention_case("non-contiguous", (2, 2, 4, 3), (2, 2, 5, 3), 2, mask(4, 5, blocked=[1])).strided(),
        attention_case("float32", (2, 3, 4), (2, 5, 4), 6, mask(2, 3, 5, blocked=[0])).float32(),
    ],
    mutants={
        **{fault: _forward_fault(fault) for fault in _FAULTS},
        **{
            fault: _backward_fault(fault)
            for fault in (
                "diagonal only",
                "softmax of one entry",
                "no softmax",
                "sum over the queries",
                "sum not weighed",
                "mean for the sum",
                "sum added",
                "sum without weights in front",
                "dq not scaled",
                "dk not scaled",
                "neither scaled",
                "scaled by D",
                "dv scaled",
                "dv of scores",
                "dv of raw scores",
                "signs",
            )
        },
        "blocked rows give gradients": (_forward, _with_uniform_rows),
        "changes dout": (_forward, _changes_dout),
        "dq and dk swapped": (_forward, lambda dout, cache: [_backward(dout, cache)[i] for i in (1, 0, 2)]),
        "no cache": (lambda q, k, v, mask=None: share(q, k, mask) @ v, _backward),
    },
    solutions={
        "keeps the output": (_forward_keeping_out, _backward_with_out),
        "the whole Jacobian": (_forward_with_product, _backward_with_jacobian),
    },
)
