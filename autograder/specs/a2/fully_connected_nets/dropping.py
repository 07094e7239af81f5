"""Dropout: masks that are right, and masks that only look it."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal


def _keep(x, p, generator):
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p


def _dropping(
    *,
    scale=lambda p: 1 / (1 - p),
    mask=_keep,
    used=lambda x, p: x,
    back=lambda dout, kept, scale: dout * kept * scale,
    inverted_back=False,
    remembers_last=False,
    in_place=False,
    training_alone=True,
    first=None,
):
    """Return dropout_forward and dropout_backward with parts replaced."""
    last = {}

    def forward(x, p, is_training, generator):
        if training_alone and not is_training:
            return used(x, p), (torch.ones_like(x), 1.0)
        kept = mask(x, p, generator).to(x.dtype)
        last["cache"] = (kept, scale(p))
        if in_place:
            x *= kept * scale(p)
            return x, last["cache"]
        return x * kept * scale(p), last["cache"]

    def backward(dout, cache):
        return back(dout, *(last["cache"] if remembers_last and last else cache))

    return forward, backward


def _row_mask(x, p, generator):
    shape = (x.shape[0], *[1] * (x.dim() - 1))
    return (torch.rand(shape, generator=generator, dtype=x.dtype, device=x.device) >= p).expand(x.shape)


def _column_mask(x, p, generator):
    return (torch.rand(x.shape[1:], generator=generator, dtype=x.dtype, device=x.device) >= p).expand(x.shape)


def _exact_count(x, p, generator):
    order = torch.randperm(x.numel(), generator=generator, device=x.device)
    return (order >= round(p * x.numel())).reshape(x.shape)


def _in_pairs(x, p, generator):
    half = (-(-x.shape[-1] // 2),)
    kept = torch.rand(x.shape[:-1] + half, generator=generator, dtype=x.dtype, device=x.device) >= p
    return kept.repeat_interleave(2, dim=-1)[..., : x.shape[-1]]


def _global_mask(x, p, generator):
    return torch.rand(x.shape, dtype=x.dtype, device=x.device) >= p


def _own_seed(x, p, generator):
    return _keep(x, p, torch.Generator(device=x.device).manual_seed(0))


def _reseeding(x, p, generator):
    return _keep(x, p, generator.manual_seed(generator.initial_seed()))


def _normal_mask(x, p, generator):
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p


def by_bernoulli_forward(x, p, is_training, generator):
    if is_training:
        kept = torch.empty_like(x, memory_format=torch.contiguous_format).bernoulli_(1 - p, generator=generator).bool()
        return torch.where(kept, x / (1 - p), torch.zeros_like(x)), {"kept": kept, "p": p, "training": True}
    return x.clone(), {"kept": None, "p": p, "training": False, "note": "nothing was dropped"}


def by_bernoulli_backward(dout, cache):
    if not cache["training"]:
        return dout.clone()
    return (dout / (1 - cache["p"])).masked_fill(~cache["kept"], 0.0)


def by_loop_forward(x, p, is_training, generator):
    factors = torch.ones_like(x)
    if is_training:
        uniform = torch.rand(x.numel(), generator=generator, device=x.device, dtype=torch.float64).tolist()
        factors = torch.tensor([0.0 if u < p else 1 / (1 - p) for u in uniform], dtype=x.dtype, device=x.device)
        factors = factors.reshape(x.shape)
    return factors * x, factors


def _by_loop_backward(dout, cache):
    return torch.stack([row * factor for row, factor in zip(dout, cache, strict=True)])


dropout = Hidden(
    cases=[
        Case("p = 0.1", x=normal(7, 9), p=0.1, seed=4, dout=normal(7, 9)),
        Case("p = 0.95", x=normal(9, 9), p=0.95, seed=5, dout=normal(9, 9)),
        Case("one entry", x=normal(1, 1), p=0.5, seed=6, dout=normal(1, 1)),
        Case("images", x=normal(2, 3, 4, 5), p=0.4, seed=7, dout=normal(2, 3, 4, 5)),
        Case("one axis", x=normal(23), p=0.2, seed=8, dout=normal(23)),
        Case("zeros in x", x=given([[0.0, 1.0, 0.0], [-2.0, 0.0, 3.0]]), p=0.3, seed=9, dout=normal(2, 3)),
        Case("entries of 1e6", x=normal(5, 4, std=1e6), p=0.6, seed=10, dout=normal(5, 4, std=1e6)),
        Case("float32", x=normal(6, 7), p=0.3, seed=11, dout=normal(6, 7)).float32(),
        Case("non-contiguous", x=normal(6, 7), p=0.3, seed=12, dout=normal(6, 7)).strided(),
    ],
    mutants={
        "divides by p": _dropping(scale=lambda p: 1 / max(p, 1e-9)),
        "never scales": _dropping(scale=lambda p: 1.0),
        "multiplies by the keep probability": _dropping(scale=lambda p: 1 - p),
        "scales when it is used instead": _dropping(scale=lambda p: 1.0, used=lambda x, p: x * (1 - p)),
        "p is the probability of keeping": _dropping(mask=lambda x, p, g: _keep(x, 1 - p, g)),
        "drops when it is used too": _dropping(training_alone=False),
        "never drops": _dropping(mask=lambda x, p, g: torch.ones_like(x), scale=lambda p: 1.0),
        "drops whole rows": _dropping(mask=_row_mask),
        "drops whole columns": _dropping(mask=_column_mask),
        "drops an exact count": _dropping(mask=_exact_count),
        "drops in pairs": _dropping(mask=_in_pairs),
        "draws without the generator": _dropping(mask=_global_mask),
        "makes a generator of its own": _dropping(mask=_own_seed),
        "seeds the generator anew": _dropping(mask=_reseeding),
        "draws normal numbers": _dropping(mask=_normal_mask),
        "goes back without the mask": _dropping(back=lambda dout, kept, scale: dout * scale),
        "goes back without the scale": _dropping(back=lambda dout, kept, scale: dout * kept),
        "goes back through what was dropped": _dropping(back=lambda dout, kept, scale: dout * (1 - kept) * scale),
        "goes back with the last mask": _dropping(remembers_last=True),
        "goes back as the identity": _dropping(back=lambda dout, kept, scale: dout),
        "changes x": _dropping(in_place=True),
        "returns float64": _dropping(
            mask=lambda x, p, g: _keep(x.double(), p, g),
            scale=lambda p: torch.tensor([1 / (1 - p)], dtype=torch.float64),
        ),
        "returns no cache": (lambda x, p, is_training, generator: x, lambda dout, cache: dout),
        "uses torch's dropout": (
            lambda x, p, is_training, generator: (functional.dropout(x, p, is_training), None),
            lambda dout, cache: dout,
        ),
    },
    solutions={
        "bernoulli_ and a dict": (by_bernoulli_forward, by_bernoulli_backward),
        "loops over entries and rows": (by_loop_forward, _by_loop_backward),
    },
    equivalent={
        "dropout_forward: torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p -> "
        "torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) > p": "a uniform number equals p once "
        "in millions of draws",
        "dropout_forward: torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) -> "
        "torch.rand(x.shape, generator=generator, device=x.device)": "uniform numbers of float32 decide as well; out gets "
        "its dtype from x",
    },
)
