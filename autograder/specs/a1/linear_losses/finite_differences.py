"""The gradient of any function by centred differences."""

from __future__ import annotations

from itertools import product

import torch

from dlcvkit.checking import Case, Hidden, normal


def _gradient(f, x, h=1e-5, fault=""):
    gradient = torch.zeros_like(x, dtype=torch.float32 if fault == "float32" else x.dtype)
    moved = x.clone() if fault in ("clone", "one by one") else x
    for index in product(*map(range, x.shape)):
        old = moved[index].item()
        moved[index] = old + h
        above = f(moved)
        moved[index] = old - h
        below = f(moved)
        if fault == "far side" and index[-1] == x.shape[-1] - 1:
            below = above
        if fault == "stays below":
            old = old - h
        moved[index] = old
        gradient[index] = (above - below) / (2 * h)
    return gradient


def _gradient_of_shifts(f, x, h=1e-5):
    shifts = h * torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape)
    slopes = [float(f(x + shift) - f(x - shift)) / (2 * h) for shift in shifts]
    return torch.tensor(slopes, dtype=x.dtype, device=x.device).reshape(x.shape)


def _gradient_transposed(f, x, h=1e-5):
    flipped = x.permute(*reversed(range(x.dim())))
    return _gradient(lambda moved: f(moved.permute(*reversed(range(x.dim())))), flipped, h).permute(
        *reversed(range(x.dim()))
    )


def _gradient_by_sums(f, x, h=1e-5):
    gradient = torch.zeros_like(x)
    for index in product(*map(range, x.shape)):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        below = f(x)
        x[index] += h
        gradient[index] = (above - below) / (2 * h)
    return gradient


def _gradient_forward(f, x, h=1e-5, width=1.0):
    here = f(x)
    gradient = torch.zeros_like(x)
    for index in product(*map(range, x.shape)):
        old = x[index].item()
        x[index] = old + h
        gradient[index] = (f(x) - here) / (width * h)
        x[index] = old
    return gradient


def _gradient_along(flat, f, x, h):
    """Move the entries of ``flat``, which shares its memory with ``x`` or does not: that is what is tried."""
    gradient = torch.zeros_like(flat)
    for i in range(len(flat)):
        old = flat[i].item()
        flat[i] = old + h
        above = f(x)
        flat[i] = old - h
        gradient[i] = (above - f(x)) / (2 * h)
        flat[i] = old
    return gradient.reshape(x.shape)


def _gradient_by_view(f, x, h=1e-5):
    return _gradient_along(x.view(-1), f, x, h)


def _gradient_by_flatten(f, x, h=1e-5):
    return _gradient_along(x.reshape(-1), f, x, h)


def _gradient_of_matrices(f, x, h=1e-5):
    gradient = torch.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            old = x[i, j].clone()
            x[i, j] = old + h
            above = f(x)
            x[i, j] = old - h
            gradient[i, j] = (above - f(x)) / (2 * h)
            x[i, j] = old
    return gradient


def _gradient_with_alias(f, x, h=1e-5):
    gradient = torch.zeros_like(x)
    for index in product(*map(range, x.shape)):
        old = x[index]  # a view: it moves along with x
        x[index] = old + h
        above = f(x)
        x[index] = old - 2 * h
        gradient[index] = (above - f(x)) / (2 * h)
        x[index] = old
    return gradient


def _gradient_by_autograd(f, x, h=1e-5):
    with torch.enable_grad():
        variable = x.clone().requires_grad_()
        return torch.autograd.grad(f(variable), variable)[0]


def _gradient_all_at_once(f, x, h=1e-5):
    return torch.full_like(x, float((f(x + h) - f(x - h)) / (2 * h)))


numerical_gradient = Hidden(
    cases=[
        Case("one entry", f="sum of cubes", x=normal(1), h=0.25),
        Case("four axes", f="logarithm of a sum", x=normal(2, 1, 3, 2), h=1e-4),
        Case("f returns a Python number", f="a Python number", x=normal(5), h=0.2),
        Case("float32", f="sum of squares", x=normal(3, 2), h=0.125).float32(),
        Case("non-contiguous, four axes", f="products of neighbours", x=normal(2, 2, 1, 3), h=0.3).strided(),
        Case("a large step", f="weighted sines", x=normal(4, 3), h=2.0),
        Case("large entries", f="products of neighbours", x=normal(3, 3, mean=200.0), h=0.01),
    ],
    mutants={
        "divides by h": lambda f, x, h=1e-5: 2 * _gradient(f, x, h),
        "multiplies by 2h": lambda f, x, h=1e-5: 4 * h * h * _gradient(f, x, h),
        "divides by 2 and multiplies by h": lambda f, x, h=1e-5: h * h * _gradient(f, x, h),
        "forward difference": _gradient_forward,
        "forward difference over 2h": lambda f, x, h=1e-5: _gradient_forward(f, x, h, width=2.0),
        "backward difference": lambda f, x, h=1e-5: _gradient_forward(f, x, -h),
        "opposite sign": lambda f, x, h=1e-5: -_gradient(f, x, h),
        "always h = 1e-5": lambda f, x, h=1e-5: _gradient(f, x),
        "adds h and subtracts it again": _gradient_by_sums,
        "never puts an entry back": lambda f, x, h=1e-5: _gradient(f, x, h, "stays below"),
        "keeps a view instead of the old number": _gradient_with_alias,
        "moves all entries at once": _gradient_all_at_once,
        "moves a flattened copy": _gradient_by_flatten,
        "view of a tensor with gaps": _gradient_by_view,
        "two axes only": _gradient_of_matrices,
        "leaves the last column out": lambda f, x, h=1e-5: _gradient(f, x, h, "far side"),
        "returns a flat gradient": lambda f, x, h=1e-5: _gradient(f, x, h).flatten(),
        "returns a list": lambda f, x, h=1e-5: _gradient(f, x, h).tolist(),
        "uses autograd": _gradient_by_autograd,
    },
    solutions={
        "shifted copies": _gradient_of_shifts,
        "on a clone": lambda f, x, h=1e-5: _gradient(f, x, h, "clone"),
        "transposed result": _gradient_transposed,
        "in place": _gradient,
    },
    equivalent={
        "numerical_gradient: torch.zeros_like(x) -> torch.ones_like(x)": "every entry is assigned",
    },
)
