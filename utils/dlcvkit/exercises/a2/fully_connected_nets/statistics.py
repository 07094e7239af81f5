"""What can be said of random numbers: shares and spreads that a right draw misses once in millions of times."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SIGMAS = 5.5


def find_mismatch(name: str, got: Any, like: Tensor) -> str | None:
    """Return in what ``got`` differs from the kind of tensor that ``like`` is, or None."""
    if not isinstance(got, Tensor):
        return f"{name} is {'None' if got is None else f'a {type(got).__name__}'}; expected a tensor"
    if got.shape != like.shape or got.dtype != like.dtype:
        kinds = [f"{tuple(each.shape)} and dtype {str(each.dtype).removeprefix('torch.')}" for each in (got, like)]
        return f"{name} has shape {kinds[0]}; expected {kinds[1]}"
    return None if bool(got.isfinite().all()) else f"{name} holds values that are not finite"


def is_near(got: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors of one dtype agree to within rounding."""
    slack = 1e-5 if expected.dtype == torch.float32 else 1e-10
    return torch.allclose(got, expected, rtol=slack, atol=slack * float(expected.abs().max()) if len(expected) else 0.0)


def is_share(share: float, p: float, count: int) -> bool:
    """Return whether ``share`` of ``count`` independent draws can be expected where each comes true with ``p``."""
    return abs(share - p) <= SIGMAS * math.sqrt(p * (1 - p) / count) + 1e-9
