"""Gradient steps on x·y."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal


def _walk(x, y, lr, steps, alternate=True, *, fault=""):
    xs, ys = [x], [y]
    for step in range(steps):
        new_x = x - lr * y
        seen = new_x if alternate else x
        if fault == "first step at once":
            seen = x if step == 0 else seen
        if fault == "starting x for ever":
            seen = xs[0]
        new_y = y + lr * seen
        if fault == "lr falls":
            lr = lr * 0.9
        if fault == "unit length":
            length = (new_x**2 + new_y**2).sum().sqrt() + 1e-12
            new_x, new_y = new_x / length, new_y / length
        x, y = new_x, new_y
        xs.append(x)
        ys.append(y)
    if fault == "a list":
        return [each.tolist() for each in xs], [each.tolist() for each in ys]
    if fault == "one tensor":
        return torch.stack([torch.stack(xs), torch.stack(ys)])[0]
    if fault == "ys first":
        return torch.stack(ys), torch.stack(xs)
    if fault == "flat":
        return torch.stack(xs).flatten(), torch.stack(ys).flatten()
    return torch.stack(xs), torch.stack(ys)


def _spoilt(fault):
    return lambda *arguments: _walk(*arguments, fault=fault)


def _in_place(x, y, lr, steps, alternate=True):
    xs, ys = [x.clone()], [y.clone()]
    for _ in range(steps):
        old = x.clone()
        x -= lr * y
        y += lr * (x if alternate else old)
        xs.append(x.clone())
        ys.append(y.clone())
    return torch.stack(xs), torch.stack(ys)


def _homeless(x, y, lr, steps, alternate=True):
    xs, ys = torch.zeros(steps + 1, len(x), dtype=x.dtype), torch.zeros(steps + 1, len(x), dtype=x.dtype)
    xs[0], ys[0] = x, y
    for k in range(steps):
        xs[k + 1] = xs[k] - lr * ys[k]
        ys[k + 1] = ys[k] + lr * (xs[k + 1] if alternate else xs[k])
    return xs, ys


def _filled(x, y, lr, steps, alternate=True):
    xs, ys = x.new_empty(steps + 1, len(x)), y.new_empty(steps + 1, len(y))
    xs[0], ys[0] = x, y
    for k in range(steps):
        xs[k + 1] = xs[k] - lr * ys[k]
        ys[k + 1] = ys[k] + lr * xs[k + 1 if alternate else k]
    return [xs, ys]


def _by_matrix(x, y, lr, steps, alternate=True):
    corner = 1 - lr**2 if alternate else 1.0
    step = torch.tensor([[1.0, -lr], [lr, corner]], dtype=x.dtype, device=x.device)
    points = [torch.stack((x, y))]
    while len(points) <= steps:
        points.append(step @ points[-1])
    return tuple(torch.stack(points).unbind(1))


def _by_autograd(x, y, lr, steps, alternate=True):
    """The slopes by autograd, as for nets."""
    xs, ys = [x], [y]
    for _ in range(steps):
        a, b = xs[-1].clone().requires_grad_(), ys[-1].clone().requires_grad_()
        with torch.enable_grad():
            slope_a, slope_b = torch.autograd.grad((a * b).sum(), [a, b])
        new_x = xs[-1] - lr * slope_a
        xs.append(new_x)
        ys.append(ys[-1] + lr * (new_x if alternate else slope_b))
    return torch.stack(xs).detach(), torch.stack(ys).detach()


def _case(name, count, lr, steps, alternate):
    return Case(name, x=normal(count), y=normal(count), lr=lr, steps=steps, alternate=alternate)


alternating_gradient = Hidden(
    cases=[
        _case("no steps", 3, 0.5, 0, True),
        _case("one step, one entry", 1, 0.3, 1, True),
        _case("one step, both at once", 4, 0.3, 1, False),
        _case("a step size of 0", 3, 0.0, 3, False),
        _case("a step size of 2", 2, 2.0, 5, True),
        _case("a step size of 3", 2, 3.0, 4, False),
        _case("many steps", 5, 0.05, 40, True),
        _case("non-contiguous", 4, 0.4, 3, True).strided(),
        _case("float32", 3, 0.4, 5, False).float32(),
        Case("starts at the solution", x=given([0.0, 1.0]), y=given([0.0, 0.0]), lr=0.5, steps=3, alternate=True),
        _case("as many steps as entries", 4, 0.7, 3, True),
    ],
    mutants={
        **{
            fault: _spoilt(fault)
            for fault in (
                "first step at once",
                "starting x for ever",
                "lr falls",
                "unit length",
                "a list",
                "one tensor",
                "ys first",
                "flat",
            )
        },
        "changes its inputs": _in_place,
        "makes paths without device": _homeless,
    },
    solutions={
        "filled in": _filled,
        "by a matrix": _by_matrix,
        "by autograd": _by_autograd,
    },
)
