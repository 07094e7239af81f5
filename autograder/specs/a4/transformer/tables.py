"""The causal mask, positions and layer norm."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.exercises.a4.transformer.tables import (
    add_positions,
    encode_positions,
    norm_by_hand,
    norm_case,
    normalise,
    positions_case,
)


def _mask_by_comparison(T, device=None):
    steps = torch.arange(T, device=device)
    return steps[:, None] >= steps


def _mask_by_rows(T, device=None):
    return torch.tensor([[t <= s for t in range(T)] for s in range(T)], dtype=torch.bool, device=device)


causal_mask = Hidden(
    cases=[Case("2 positions", T=2), Case("7 positions", T=7), Case("60 positions", T=60)],
    mutants={
        "numbers to be added": lambda T, device=None: torch.full((T, T), -math.inf).triu(1),
        "integers": lambda T, device=None: torch.ones(T, T, dtype=torch.int64).tril(),
        "one column more": lambda T, device=None: torch.ones(T, T + 1, dtype=torch.bool).tril(),
        "an axis in front": lambda T, device=None: torch.ones(1, T, T, dtype=torch.bool).tril(),
        "a window of four": lambda T, device=None: torch.ones(T, T, dtype=torch.bool).tril().triu(-3),
        "never more than 50": lambda T, device=None: torch.ones(min(T, 50), min(T, 50), dtype=torch.bool).tril(),
    },
    solutions={"by comparison": _mask_by_comparison, "row by row": _mask_by_rows},
    equivalent={
        "causal_mask: torch.ones(T, T, dtype=torch.bool, device=device) -> torch.ones(T, T, dtype=torch.bool)": (
            "no case names a device, and None is the default"
        ),
    },
)


def _positions_by_numbers(x):
    T, D = x.shape[1], x.shape[2]
    rows = [
        [(math.cos if d % 2 else math.sin)(t * math.exp(-math.log(10000) * (d - d % 2) / D)) for d in range(D)]
        for t in range(T)
    ]
    return torch.tensor(rows, dtype=x.dtype, device=x.device)


def _positions_by_slices(x):
    table = torch.zeros_like(x[0])
    T, D = table.shape
    rates = 10000.0 ** (-torch.arange((D + 1) // 2, dtype=x.dtype, device=x.device) * 2 / D)
    angles = torch.outer(torch.arange(T, dtype=x.dtype, device=x.device), rates)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles[:, : D // 2])
    return table


def _positions_anywhere(x):
    T, D = x.shape[1:]
    angles = torch.arange(T, dtype=x.dtype)[:, None] / 10000 ** (torch.arange(0, D, 2, dtype=x.dtype) / D)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :D]


def _positions_for_even(x):
    table = _positions_by_slices(x)
    return table[:, : x.shape[2] // 2 * 2] if x.shape[2] > 1 else table


def _positions(fault):
    return lambda x: encode_positions(x, fault)


def _table_case(name, *shape):
    return Case(name, x=normal(*shape))


positional_encoding = Hidden(
    cases=[
        _table_case("an odd number of features", 2, 6, 7),
        _table_case("one feature", 2, 5, 1),
        _table_case("two features", 1, 4, 2),
        _table_case("one position", 3, 1, 6),
        _table_case("300 positions", 1, 300, 10),
        _table_case("more features than positions", 2, 3, 32),
        _table_case("non-contiguous", 2, 5, 6).strided(),
        _table_case("float32", 2, 20, 9).float32(),
    ],
    mutants={
        **{fault: _positions(fault) for fault in ("base 100000", "D - 1", "half of D")},
        "an axis for the batch": lambda x: encode_positions(x).expand_as(x),
        "as long as wide": lambda x: encode_positions(x.new_zeros(1, x.shape[2], x.shape[2])),
        "last column lost": _positions_for_even,
        "100 positions at most": lambda x: encode_positions(x[:, :100]),
        "position modulo 100": lambda x: encode_positions(x[:, :100]).repeat(-(-x.shape[1] // 100), 1)[: x.shape[1]],
        "no device": _positions_anywhere,
    },
    solutions={"number by number": _positions_by_numbers, "by slices": _positions_by_slices},
    equivalent={
        "positional_encoding: torch.arange(T, dtype=x.dtype, device=x.device) -> torch.arange(T, device=x.device)": (
            "integers divided by a tensor of numbers take its dtype"
        ),
    },
)


class _Positions(nn.Module):
    """Learned positions that are spoilt by one ``fault``."""

    fault = ""

    def __init__(self, max_length, D):
        super().__init__()
        first = torch.zeros(max_length, D)
        if self.fault == "an embedding":
            self.table = nn.Embedding(max_length, D)
        elif self.fault == "turned":
            self.table = nn.Parameter(first.T)
        elif self.fault == "no parameter":
            self.register_buffer("table", first)
        else:
            self.table = nn.Parameter(first)

    def forward(self, x):
        fault, length = self.fault, len(self.table)
        limit = {"refuses the last position": length - 1, "one too many": length + 1}.get(fault, length)
        if fault == "cuts what is too long":
            x = x[:, :length]
        elif x.shape[1] > limit:
            if fault == "another error":
                raise IndexError("too long")
            raise ValueError("too long")
        if fault == "changes x":
            x += self.table[: x.shape[1]]
            return x
        if fault == "detaches":
            return x + self.table[: x.shape[1]].detach()
        if fault == "by sequence":
            return x + self.table[: len(x), None]
        return add_positions(x, {"table": self.table}, fault)


def _learned(fault):
    return type("LearnedPositions", (_Positions,), {"fault": fault})


class _ByEmbedding(nn.Module):
    def __init__(self, max_length, D):
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_length, D))
        nn.init.normal_(self.table)

    def forward(self, x):
        steps = torch.arange(x.shape[1], device=x.device)
        if x.shape[1] > self.table.shape[0]:
            raise ValueError
        return functional.embedding(steps, self.table) + x


class _ByStack(nn.Module):
    def __init__(self, max_length, D):
        super().__init__()
        self.register_parameter("table", nn.Parameter(torch.randn(max_length, D)))

    def forward(self, x):
        steps = x.unbind(dim=1)
        if len(steps) > len(self.table):
            raise ValueError("longer than the table")
        return torch.stack([step + row for step, row in zip(steps, self.table, strict=False)], dim=1)


learned_positions = Hidden(
    cases=[
        positions_case("one step", 3, 1, 4, 5),
        positions_case("one position in all", 2, 1, 3, 1),
        positions_case("one feature", 2, 4, 1, 6),
        positions_case("one sequence", 1, 3, 5, 17),
        positions_case("non-contiguous", 2, 3, 4, 5).strided(),
        positions_case("float32", 2, 3, 4, 5).float32(),
    ],
    mutants={
        fault: _learned(fault)
        for fault in (
            "an embedding",
            "turned",
            "no parameter",
            "refuses the last position",
            "cuts what is too long",
            "another error",
            "changes x",
            "detaches",
            "by sequence",
        )
    },
    solutions={"an embedding's function": _ByEmbedding, "step by step": _ByStack},
    equivalent={
        "LearnedPositions.__init__: torch.zeros(max_length, D) -> torch.ones(max_length, D)": (
            "the table may start with any numbers"
        ),
    },
)


def _norm_forward(x, gamma, beta, fault=""):
    return normalise(x, gamma, beta, fault), (x, gamma, beta)


def _norm_backward(dout, cache, fault=""):
    return norm_by_hand(*cache, dout, fault)[1:]


def _bad_forward(fault):
    return lambda x, gamma, beta: _norm_forward(x, gamma, beta, fault), _norm_backward


def _bad_backward(fault):
    return _norm_forward, lambda dout, cache: _norm_backward(dout, cache, fault)


def _by_moments(x, gamma, beta):
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.square().mean(dim=-1, keepdim=True) - mean.square()
    return (x - mean) / (variance + 1e-5).sqrt() * gamma + beta, (x, gamma, beta)


def _changes_x(x, gamma, beta):
    x -= x.mean(dim=-1, keepdim=True)
    return _norm_forward(x, gamma, beta)


def _whitening_forward(x, gamma, beta):
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    scale = torch.rsqrt(variance + 1e-5)
    return torch.addcmul(beta, (x - mean) * scale, gamma), (x - mean, scale, gamma)


def _whitening_backward(dout, cache):
    """Through the steps of the forward pass, one by one."""
    centred, scale, gamma = cache
    axes = list(range(dout.dim() - 1))
    dgamma, dbeta = dout * centred * scale, dout
    if axes:
        dgamma, dbeta = dgamma.sum(dim=axes), dbeta.sum(dim=axes)
    dwhitened = dout * gamma
    dscale = (dwhitened * centred).sum(dim=-1, keepdim=True)
    dvariance = -0.5 * dscale * scale**3
    dcentred = dwhitened * scale + 2 * centred * dvariance / dout.shape[-1]
    return dcentred - dcentred.mean(dim=-1, keepdim=True), dgamma, dbeta.clone()


def _matrix_forward(x, gamma, beta):
    D = len(gamma)
    centre = torch.eye(D, dtype=x.dtype, device=x.device) - 1 / D
    centred = x @ centre
    spread = (centred.pow(2).sum(dim=-1, keepdim=True) / D + 1e-5).sqrt()
    return gamma * (centred / spread) + beta, (centred / spread, spread, centre, gamma)


def _matrix_backward(dout, cache):
    whitened, spread, centre, gamma = cache
    jacobian = centre - whitened[..., :, None] * whitened[..., None, :] / len(gamma)
    dx = (jacobian @ (dout * gamma)[..., None])[..., 0] / spread
    rows, hats = dout.reshape(-1, len(gamma)), whitened.reshape(-1, len(gamma))
    return dx, torch.einsum("nd,nd->d", rows, hats), torch.einsum("nd->d", rows)


layer_norm = Hidden(
    cases=[
        norm_case("one vector, one axis", 6),
        norm_case("a matrix", 4, 3),
        norm_case("four axes", 2, 2, 3, 5),
        norm_case("one feature", 2, 3, 1),
        norm_case("two features", 3, 2, 2),
        norm_case("one step of one sequence", 1, 1, 5),
        norm_case("numbers around 1e6", 2, 3, 6, mean=1e6),
        norm_case("tiny numbers", 2, 3, 6, std=1e-4),
        norm_case("equal numbers", 2, 3, 4, std=0.0, mean=3.0),
        norm_case("non-contiguous", 2, 3, 5).strided(),
        norm_case("float32", 2, 4, 6, mean=2.0).float32(),
    ],
    mutants={
        **{
            fault: _bad_forward(fault)
            for fault in (
                "over the steps",
                "over the batch",
                "unbiased",
                "eps outside",
                "no eps",
                "large eps",
                "by the variance",
                "no gamma",
                "no beta",
                "not centred",
            )
        },
        **{
            fault: _bad_backward(fault)
            for fault in (
                "statistics constant",
                "variance constant",
                "mean constant",
                "means over the batch",
                "sums",
                "gamma forgotten",
                "spread forgotten",
                "gamma of x",
                "means of weights",
            )
        },
        "variance as a difference": (_by_moments, _norm_backward),
        "changes x": (_changes_x, _norm_backward),
        "torch's own": (
            lambda x, gamma, beta: (functional.layer_norm(x, gamma.shape, gamma, beta), (x, gamma, beta)),
            _norm_backward,
        ),
    },
    solutions={
        "step by step": (_whitening_forward, _whitening_backward),
        "by matrices": (_matrix_forward, _matrix_backward),
    },
)
