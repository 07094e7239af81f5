"""Values that cross between student code and the checks: tensors, numbers, strings and containers of them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(path, leaf)`` for every tensor or scalar in nested dicts, lists and tuples.

    Paths read like Python: ``[3][0]`` is the first entry of what key 3 holds.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a real Python or NumPy scalar (a bool is one too)."""
    return isinstance(value, numbers.Real)


def as_tensor(value: Any) -> Tensor | None:
    """Return a plain, detached tensor for a dense tensor or a number, None for anything else.

    A number becomes a 0-dimensional tensor: float64 for a float, int64 for an integer (float64 for one that int64
    cannot hold), bool for a bool.
    """
    if isinstance(value, Tensor):
        return value.detach().as_subclass(Tensor) if is_dense(value) else None
    if isinstance(value, bool):
        return torch.tensor(value)
    if isinstance(value, numbers.Integral) and abs(int(value)) < 2**63:
        return torch.tensor(int(value))
    if is_number(value):
        try:
            return torch.tensor(float(value), dtype=torch.float64)
        except OverflowError:  # an integer beyond the largest float
            return torch.tensor(math.inf if value > 0 else -math.inf, dtype=torch.float64)
    return None


def is_dense(tensor: Tensor) -> bool:
    """Return whether the entries of ``tensor`` can be read: it is not sparse, nested, quantised or on ``meta``."""
    return tensor.layout is torch.strided and not (tensor.is_meta or tensor.is_nested or tensor.is_quantized)


def copy_tree(value: Any) -> Any:
    """Return ``value`` with every tensor cloned; containers are rebuilt, plain values kept."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copy_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copy_tree(item) for item in value) if type(value) in (list, tuple) else value
    return value


def is_same(a: Any, b: Any) -> bool:
    """Return whether two trees hold bit-equal tensors (NaN equals NaN) and equal plain values."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if not (is_dense(a) and is_dense(b)):
            return is_dense(a) == is_dense(b)  # such an answer is wrong anyway
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(is_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a is b or (type(a) is type(b) and (a == b or (a != a and b != b))))


def is_comparable(value: Any) -> bool:
    """Return whether a tree holds only tensors, numbers, strings and None, so that two of them can be compared."""
    return all(leaf is None or isinstance(leaf, Tensor | str) or is_number(leaf) for _, leaf in leaves(value))


def kind_of(value: Any) -> str:
    """Return a short noun for what ``value`` is: ``tensor``, ``float``, ``None``, ``list of 3`` ..."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"tensor of shape {shape_text(value)}" if is_dense(value) else "tensor whose entries cannot be read"
    if isinstance(value, list | tuple | dict):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def shape_text(tensor: Tensor) -> str:
    """Return the shape as students write it, such as ``(2, 3)``, ``(5,)`` or ``()``."""
    return str(tuple(tensor.shape))


def dtype_text(tensor: Tensor) -> str:
    """Return the dtype without its prefix, such as ``float32``."""
    return str(tensor.dtype).removeprefix("torch.")
