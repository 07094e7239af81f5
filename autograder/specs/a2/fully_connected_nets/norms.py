"""Max-norm, in place and otherwise."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, Mistake, given, normal
from dlcvkit.exercises.a2.fully_connected_nets.norms import limiting


def _limit_by_loop(w, limit):
    for column in range(w.shape[1]):
        size = sum(float(entry) ** 2 for entry in w[:, column]) ** 0.5
        if size > limit:
            w[:, column] = w[:, column] * limit / size


def _limit_by_clamp(w, limit):
    norm = torch.linalg.norm(w, dim=0, keepdim=True)
    w.copy_(w * (limit / norm.clamp(min=limit)))


def _limit_rebinding(w, limit):
    w = w * (limit / w.norm(dim=0)).clamp(max=1)


def _limit_returning(w, limit):
    return w.mul_(limit / w.norm(dim=0).clamp(min=limit))


def _limit_copy(w, limit):
    return w * (limit / w.norm(dim=0).clamp(min=limit))


def _limit_memory(w, limit):
    """Take the storage of w for its entries."""
    flat = w.as_strided((w.untyped_storage().nbytes() // w.element_size(),), (1,))
    flat *= 0.5


def _limit_ready_made(w, limit):
    w.renorm_(2, 1, limit)


def _limit_nan(w, limit):
    norm = w.norm(dim=0)
    w.copy_(torch.where(norm > limit, w * limit / norm, w / norm * norm))


max_norm_ = Hidden(
    cases=[
        Case("one row", w=normal(1, 6, std=2.0), limit=1.0),
        Case("one column", w=normal(7, 1, std=2.0), limit=1.0),
        Case("square", w=normal(4, 4), limit=1.7),
        Case("all zeros", w=given([[0.0, 0.0], [0.0, 0.0]]), limit=1.0),
        Case("nothing to do", w=normal(5, 3, std=0.1), limit=3.0),
        Case("a small limit", w=normal(5, 3), limit=1e-4),
        Case("weights of 1e6", w=normal(6, 4, std=1e6), limit=10.0),
        Case("exactly at the limit", w=given([[3.0, 0.0, 3.0], [4.0, 5.0, 4.1]]), limit=5.0),
        Case("float32", w=normal(6, 5), limit=1.5).float32(),
        Case("non-contiguous", w=normal(6, 5), limit=1.5).strided(),
    ],
    mistakes=[
        Mistake("takes the largest entry for the norm", limiting(p=float("inf")), hint="the norm is Euclidean"),
    ],
    mutants={
        "works on a copy": _limit_rebinding,
        "returns w": _limit_returning,
        "returns a new tensor": _limit_copy,
        "changes memory beside w": _limit_memory,
        "divides zero by zero": _limit_nan,
        "uses renorm": _limit_ready_made,
    },
    solutions={"column by column": _limit_by_loop, "clamped norms": _limit_by_clamp},
    equivalent={"max_norm_: norm > limit -> norm >= limit": "a column exactly at the limit is multiplied by 1"},
)
