"""Multi-head attention and the feed-forward net."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.transformer.attention import mask, share
from dlcvkit.exercises.a4.transformer.heads import attend_in_heads, feed, feed_case, heads_case


class Attention(nn.Module):
    """Multi-head attention that is spoilt by one ``fault``; other modules of this folder use it as it is."""

    fault = ""

    def __init__(self, D, heads):
        super().__init__()
        self.heads = heads
        bias = self.fault != "no biases"
        for name in ("query", "key", "value", "output"):
            setattr(self, name, nn.Linear(D, D, bias=bias))
        if self.fault == "one layer for keys and values":
            self.value = self.key
        if self.fault == "another name":
            self.out = self.output
            del self.output
        if self.fault == "weights in the state dict":
            self.register_buffer("weights", torch.zeros(1))

    def forward(self, x, context, mask=None):
        fault = self.fault
        if fault == "changes x":
            x += 1
        if fault == "mask without the axis of heads" and mask is not None and mask.dim() == 4:
            mask = mask[:1]
        if fault == "ends of rows cut" and mask is not None:
            mask = mask & (torch.arange(mask.shape[-1], device=mask.device) < 4)
        out, shares = attend_in_heads(x, context, mask, dict(self.named_parameters()), self.heads, fault)
        if fault != "weights not kept":
            self.weights = {
                "mean of the heads": shares.mean(dim=1),
                "weights of the first head": shares[:, 0],
                "weights turned": shares.mT,
            }.get(fault, shares.detach())
        if fault == "zeros for blocked rows" and mask is not None:
            out = out * mask.expand(*shares.shape)[:, 0].any(dim=-1)[..., None]
        if fault == "dropout":
            out = functional.dropout(out, 0.1, self.training)
        if fault == "shortcut":
            out = out + x
        return out.detach() if fault == "detaches" else None if fault == "nothing returned" else out


def _attention(fault):
    return type("MultiHeadAttention", (Attention,), {"fault": fault})


class _Stacked(nn.Module):
    """One product for all three projections where x is its own context, and sums by einsum."""

    def __init__(self, D, heads):
        super().__init__()
        self.output, self.value, self.key, self.query = (nn.Linear(D, D) for _ in range(4))
        self.shape = heads, D // heads

    def forward(self, x, context, mask=None):
        sources = (self.query, x), (self.key, context), (self.value, context)
        q, k, v = (layer(source).view(*source.shape[:2], *self.shape) for layer, source in sources)
        scores = torch.einsum("nshd,nthd->nhst", q, k) / self.shape[1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        self.weights = scores.softmax(dim=-1)
        if mask is not None:
            self.weights = self.weights * mask
        out = torch.einsum("nhst,nthd->nshd", self.weights, v)
        return self.output(out.reshape(x.shape))


class _HeadByHead(nn.Module):
    """Every head for itself, its share of the weights cut out."""

    def __init__(self, D, heads):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)
        self.output = nn.Linear(D, D)
        self.width = D // heads

    def forward(self, x, context, mask=None):
        found, shares = [], []
        queries, keys, values = self.query(x), self.key(context), self.value(context)
        for q, k, v in zip(*(each.split(self.width, dim=2) for each in (queries, keys, values)), strict=True):
            allowed = mask[:, 0] if mask is not None and mask.dim() == 4 else mask
            shares.append(share(q, k, allowed))
            found.append(shares[-1] @ v)
        self.weights = torch.stack(shares, dim=1).detach()
        return self.output(torch.cat(found, dim=2))


multi_head_attention = Hidden(
    cases=[
        heads_case("one sequence", 1, 4, 2, 6, 2),
        heads_case("one head", 2, 3, 4, 3, 1, mask(3, 4)),
        heads_case("as many heads as features", 2, 3, 4, 4, 4),
        heads_case("one query", 3, 1, 5, 4, 2, mask(3, 1, 1, 5)),
        heads_case("one key", 2, 4, 1, 6, 3),
        heads_case("padding", 3, 4, 6, 6, 2, mask(3, 1, 1, 6)),
        heads_case("blocked rows in all sequences", 2, 4, 5, 4, 2, mask(4, 5, blocked=[0, 2])),
        heads_case("everything blocked", 2, 3, 2, 4, 2, mask(2, 1, 3, 2, blocked=[0, 1, 2])),
        heads_case("as many steps as heads", 2, 2, 2, 4, 2),
        heads_case("large scores", 2, 3, 4, 6, 2, mask(3, 4), 60.0),
        heads_case("non-contiguous", 2, 3, 5, 6, 3, mask(2, 1, 3, 5, blocked=[1])).strided(),
        heads_case("float32", 2, 4, 3, 6, 2, mask(2, 1, 4, 3)).float32(),
    ],
    mutants={
        fault: _attention(fault)
        for fault in (
            "no biases",
            "one layer for keys and values",
            "another name",
            "weights in the state dict",
            "changes x",
            "mask without the axis of heads",
            "ends of rows cut",
            "mean of the heads",
            "weights of the first head",
            "weights turned",
            "weights not kept",
            "zeros for blocked rows",
            "dropout",
            "shortcut",
            "detaches",
            "nothing returned",
            "keys from x",
            "over the queries",
            "blocked rows NaN",
            "overflow",
        )
    },
    solutions={"by einsum": _Stacked, "head by head": _HeadByHead},
    equivalent={
        **{
            f"MultiHeadAttention.forward: {before}.transpose(1, 2) -> {before}.transpose({axes})": "the same two of four axes"
            for before in ("layer(source).unflatten(2, (self.heads, -1))", "(weights @ v)")
            for axes in ("2, 1", "1, -2")
        },
        "MultiHeadAttention.forward: (weights @ v).transpose(1, 2).flatten(2) -> (weights @ v).transpose(1, 2).flatten(-2)": (
            "of four axes, axis 2 is axis -2"
        ),
        "MultiHeadAttention.forward: weights.detach() -> weights": (
            "the numbers are the same, and a check calls without gradients before it looks at them"
        ),
    },
)


class FeedForward(nn.Module):
    """The feed-forward net that is spoilt by one ``fault``."""

    fault = ""

    def __init__(self, D, hidden):
        super().__init__()
        bias = self.fault != "no biases"
        self.fc1, self.fc2 = nn.Linear(D, hidden, bias=bias), nn.Linear(hidden, D, bias=bias)
        if self.fault == "another name":
            self.fc3 = self.fc2
            del self.fc2

    def forward(self, x):
        fault = self.fault
        if fault == "changes x":
            x.clamp_(min=0)
        if fault == "leaky":
            return self.fc2(functional.leaky_relu(self.fc1(x), 0.01))
        if fault == "ReLU in front":
            return self.fc2(self.fc1(x.relu()))
        if fault == "normalised":
            return self.fc2(functional.layer_norm(self.fc1(x), self.fc1.bias.shape).relu())
        if fault == "mean over the steps":
            return self.fc2(self.fc1(x).relu().mean(dim=1, keepdim=True)).expand_as(x)
        out = feed({}, x, dict(self.named_parameters()), fault)
        out = functional.dropout(out, 0.1, self.training) if fault == "dropout" else out
        return out.detach() if fault == "detaches" else out


def _feed(fault):
    return type("FeedForward", (FeedForward,), {"fault": fault})


class _FeedByEinsum(nn.Module):
    def __init__(self, D, hidden):
        super().__init__()
        self.fc2, self.fc1 = nn.Linear(hidden, D), nn.Linear(D, hidden)

    def forward(self, x):
        hidden = torch.einsum("ntd,hd->nth", x, self.fc1.weight) + self.fc1.bias
        return torch.einsum("nth,dh->ntd", hidden.clamp(min=0), self.fc2.weight) + self.fc2.bias


class _FeedRowByRow(nn.Module):
    def __init__(self, D, hidden):
        super().__init__()
        self.fc1 = nn.Linear(D, hidden)
        self.fc2 = nn.Linear(hidden, D)

    def forward(self, x):
        return torch.stack([self.fc2(nn.ReLU()(self.fc1(step))) for step in x.unbind(dim=1)], dim=1)


feed_forward = Hidden(
    cases=[
        feed_case("one sequence of one step", 1, 1, 3, 4),
        feed_case("one feature", 2, 3, 1, 4),
        feed_case("one unit", 2, 3, 4, 1),
        feed_case("small numbers", 2, 3, 4, 6, std=0.01),
        feed_case("non-contiguous", 2, 3, 4, 6).strided(),
        feed_case("float32", 3, 2, 4, 6).float32(),
    ],
    mutants={
        fault: _feed(fault)
        for fault in (
            "no biases",
            "another name",
            "changes x",
            "leaky",
            "ReLU in front",
            "normalised",
            "mean over the steps",
            "dropout",
            "detaches",
        )
    },
    solutions={"by einsum": _FeedByEinsum, "step by step": _FeedRowByRow},
)
