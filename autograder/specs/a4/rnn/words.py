"""Embeddings, and an affine layer at every step."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, integers, normal

# Embeddings.


def _embed(x, W):
    return W[x], (x, W.shape)


def _back(dout, cache):
    x, shape = cache
    dW = dout.new_zeros(shape)
    return dW.index_put((x,), dout, accumulate=True)


def _by_one_hot(x, W):
    chosen = (x[..., None] == torch.arange(len(W), device=W.device)).to(W.dtype)
    return chosen @ W, chosen


def _back_by_one_hot(dout, chosen):
    return torch.einsum("ntv,ntd->vd", chosen, dout)


def _word_by_word(x, W):
    return torch.stack([torch.stack([W[word].float() for word in row]) for row in x.tolist()]), (x.tolist(), W)


def _back_word_by_word(dout, cache):
    x, W = cache
    dW = torch.zeros_like(W).float()
    for n, row in enumerate(x):
        for t, word in enumerate(row):
            dW[word] += dout[n, t].float()
    return dW


def _back_plus_equals(dout, cache):
    dW = dout.new_zeros(cache[1])
    dW[cache[0]] += dout
    return dW


def _back_up_to_the_largest(dout, cache):
    x, shape = cache
    return dout.new_zeros(int(x.max()) + 1, shape[1]).index_put((x,), dout, accumulate=True)


def _back_first_sequence(dout, cache):
    return _back(dout[:1], (cache[0][:1], cache[1]))


def _back_in_place(dout, cache):
    dout *= 1.5
    return _back(dout / 1.5, cache)


def _back_per_sequence(dout, cache):
    """Adds up within a sequence by +=, which writes once; over sequences properly."""
    dW = dout.new_zeros(cache[1])
    for words, share in zip(cache[0], dout, strict=True):
        dW[words] += share
    return dW


word_embedding = Hidden(
    cases=[
        Case("one sequence, one step", x=integers(1, 1, high=3), W=normal(3, 4), dout=normal(1, 1, 4)),
        Case("one word", x=integers(3, 2, high=1), W=normal(1, 2), dout=normal(3, 2, 2)),
        Case("the same word throughout", x=given([[4] * 5] * 2, torch.int64), W=normal(6, 3), dout=normal(2, 5, 3)),
        Case(
            "a word twice in one sequence", x=given([[1, 1, 0, 3]], torch.int64), W=normal(5, 2), dout=normal(1, 4, 2)
        ),
        Case("many words, few of them used", x=integers(2, 3, high=20), W=normal(200, 2), dout=normal(2, 3, 2)),
        Case("few words, long sequences", x=integers(3, 17, high=4), W=normal(4, 5), dout=normal(3, 17, 5)),
        Case("one number per word", x=integers(2, 3, high=4), W=normal(4, 1), dout=normal(2, 3, 1)),
        Case("gaps in memory", x=integers(3, 4, high=5), W=normal(5, 3), dout=normal(3, 4, 3)).strided(),
        Case("float32", x=integers(3, 4, high=5), W=normal(5, 3), dout=normal(3, 4, 3)).float32(),
    ],
    mutants={
        "plus equals": (_embed, _back_plus_equals),
        "rows up to the largest word": (_embed, _back_up_to_the_largest),
        "first sequence only": (_embed, _back_first_sequence),
        "sequence by sequence": (_embed, _back_per_sequence),
        "changes dout": (_embed, _back_in_place),
        "opposite sign": (_embed, lambda dout, cache: -_back(dout, cache)),
        "transposed": (_embed, lambda dout, cache: _back(dout, cache).T),
        "uses torch's": (lambda x, W: (functional.embedding(x, W), (x, W.shape)), _back),
        "columns for rows": (lambda x, W: (W[:, x % W.shape[1]].movedim(0, 2), (x, W.shape)), _back),
        "first sequence for all": (lambda x, W: (W[x[:1]].expand(len(x), -1, -1), (x, W.shape)), _back),
        "returns no cache": (lambda x, W: W[x], _back),
        "backward not written": (_embed, lambda dout, cache: None),
    },
    solutions={
        "index_put": (_embed, _back),
        "one-hot": (_by_one_hot, _back_by_one_hot),
        "word by word, float32": (_word_by_word, _back_word_by_word),
    },
)

# The affine layer.


def _affine(x, w, b, fault=""):
    if fault == "bias per step":
        return x @ w + b[: x.shape[1], None] if x.shape[1] <= len(b) else x @ w, (x, w)
    if fault == "first step for all":
        return (x[:, :1] @ w + b).expand(-1, x.shape[1], -1), (x, w)
    if fault == "insists on contiguous memory":
        return (x.view(-1, x.shape[2]) @ w + b).view(*x.shape[:2], -1), (x, w)
    if fault == "bias once per batch":
        out = x @ w
        out[0] += b
        return out, (x, w)
    if fault == "flat":
        return x.flatten(0, 1) @ w + b, (x, w)
    return x @ w + b, (x, w)


def _affine_back(dout, cache, fault=""):
    x, w = cache
    found = [dout @ w.T, torch.einsum("ntd,ntm->dm", x, dout), dout.sum((0, 1))]
    if fault == "dx flat":
        found[0] = found[0].flatten(0, 1)
    if fault == "dw averaged over steps":
        found[1] = found[1] / x.shape[1]
    if fault == "dw of the first sequence":
        found[1] = x[0].T @ dout[0]
    if fault == "dw exchanges batch and time" and x.shape[0] == x.shape[1]:
        found[1] = torch.einsum("ntd,tnm->dm", x, dout)
    if fault == "db over steps only":
        found[2] = dout.sum(1)
    if fault == "db keeps axes":
        found[2] = dout.sum((0, 1), keepdim=True)
    if fault == "db averaged":
        found[2] = dout.mean((0, 1))
    if fault == "dw first":
        found = [found[1], found[0], found[2]]
    return tuple(found)


def _faults(function, *names):
    return {name: lambda *given, name=name: function(*given, name) for name in names}


def _affine_step_by_step(x, w, b):
    return torch.stack([b + x[:, t] @ w for t in range(x.shape[1])], 1), [x.float(), w.float()]


def _affine_back_step_by_step(dout, cache):
    x, w = cache
    dout, dw, db = dout.float(), 0, 0
    for t in range(x.shape[1]):
        dw = dw + x[:, t].mT @ dout[:, t]
        db = db + dout[:, t].sum(0)
    return torch.stack([dout[:, t] @ w.mT for t in range(x.shape[1])], 1), dw, db


def _affine_reshaped(x, w, b):
    return torch.addmm(b, x.reshape(-1, len(w)), w).reshape(*x.shape[:-1], -1), (x, w)


def _affine_back_reshaped(dout, cache):
    x, w = cache
    rows = dout.reshape(-1, w.shape[1])
    return torch.mm(rows, w.t()).reshape(x.shape), torch.mm(x.reshape(-1, len(w)).t(), rows), rows.sum(0)


def _case(name, N, T, D, M):
    return Case(name, x=normal(N, T, D), w=normal(D, M), b=normal(M), dout=normal(N, T, M))


temporal_affine = Hidden(
    cases=[
        _case("one of everything", 1, 1, 1, 1),
        _case("one step", 3, 1, 2, 4),
        _case("one sequence", 1, 5, 3, 2),
        _case("as many sequences as steps", 3, 3, 2, 4),
        _case("all sizes equal", 3, 3, 3, 3),
        _case("17 steps", 2, 17, 3, 4),
        _case("as many outputs as steps", 2, 4, 3, 4),
        _case("gaps in memory", 2, 3, 4, 5).strided(),
        _case("float32", 2, 3, 4, 5).float32(),
    ],
    mutants={
        **{
            name: (function, _affine_back)
            for name, function in _faults(
                _affine,
                "bias per step",
                "first step for all",
                "insists on contiguous memory",
                "bias once per batch",
                "flat",
            ).items()
        },
        **{
            name: (_affine, function)
            for name, function in _faults(
                _affine_back,
                "dx flat",
                "dw averaged over steps",
                "dw of the first sequence",
                "dw exchanges batch and time",
                "db over steps only",
                "db keeps axes",
                "db averaged",
                "dw first",
            ).items()
        },
        "returns no cache": (lambda *given: _affine(*given)[0], _affine_back),
        "backward not written": (_affine, lambda dout, cache: None),
    },
    solutions={
        "step by step, float32": (_affine_step_by_step, _affine_back_step_by_step),
        "reshaped": (_affine_reshaped, _affine_back_reshaped),
    },
)
