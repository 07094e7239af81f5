"""The smallest game: one player lowers x·y, the other raises it."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Function, Mistake, normal


def _path(matrix):
    """Reference and variants by powers of the step's matrix: ``matrix(lr, alternate)`` holds its rows."""

    def run(x, y, lr, steps, alternate):
        step = torch.tensor(matrix(lr, alternate), dtype=x.dtype, device=x.device)
        start = torch.stack([x, y])  # (2, D)
        path = torch.stack([torch.linalg.matrix_power(step, t) @ start for t in range(steps + 1)])
        return path[:, 0], path[:, 1]

    return run


def _rows(lr, alternate):
    return [[1.0, -lr], [lr, 1.0 - lr * lr * alternate]]


_right = _path(_rows)


def _changed(change):
    """The right path, changed by ``change(xs, ys)``."""
    return lambda **inputs: change(*_right(**inputs))


def _missing_start(x, y, lr, steps, alternate):
    xs, ys = _right(x, y, lr, steps + 1, alternate)
    return xs[1:], ys[1:]


alternating_gradient = Function(
    functions=("alternating_gradient",),
    reference=_right,
    cases=[
        Case("both at once", x=normal(3), y=normal(3), lr=0.5, steps=4, alternate=False),
        Case("one after the other", x=normal(3), y=normal(3), lr=0.5, steps=4, alternate=True),
        Case("small steps", x=normal(1), y=normal(1), lr=0.1, steps=7, alternate=True),
    ],
    points={"xs": 2, "ys": 2},
    mistakes=[
        Mistake(
            "moves both at once whatever alternate says",
            _path(lambda lr, alternate: _rows(lr, False)),
            hint="with alternate=True the second player sees where the first one has gone",
        ),
        Mistake(
            "moves one after the other whatever alternate says",
            _path(lambda lr, alternate: _rows(lr, True)),
            hint="with alternate=False both move from the same old point: is x still the old one when y moves?",
        ),
        Mistake(
            "takes alternate for its opposite",
            _path(lambda lr, alternate: _rows(lr, not alternate)),
            hint="with alternate=True the second player sees where the first one has gone",
        ),
        Mistake(
            "lets y move first",
            _path(lambda lr, alternate: [[1.0 - lr * lr * alternate, -lr], [lr, 1.0]]),
            hint="x moves first; y then sees the new x",
        ),
        Mistake(
            "lets both players descend",
            _path(lambda lr, alternate: [[1.0, -lr], [-lr, 1.0 + lr * lr * alternate]]),
            hint="x lowers x·y, and y raises it: their signs differ",
        ),
        Mistake(
            "lets both players ascend",
            _path(lambda lr, alternate: [[1.0, lr], [lr, 1.0 + lr * lr * alternate]]),
            hint="x lowers x·y, and y raises it: their signs differ",
        ),
        Mistake(
            "lets x ascend and y descend",
            _path(lambda lr, alternate: [[1.0, lr], [-lr, 1.0 - lr * lr * alternate]]),
            hint="x is the player who wants x·y small",
        ),
        Mistake(
            "gives each player the slope of the other",
            _path(lambda lr, alternate: [[1.0 - lr, 0.0], [0.0, 1.0 + lr]]),
            hint="the slope of x·y with respect to x is not x",
        ),
        Mistake(
            "leaves the starting point out",
            _missing_start,
            hint="the first entry of each path is the start, so there are steps + 1 of them",
        ),
        Mistake(
            "leaves the last point out",
            _changed(lambda xs, ys: (xs[:-1], ys[:-1])),
            hint="each path has steps + 1 entries: the start, and the point after every step",
        ),
        Mistake(
            "puts the steps on the second axis",
            _changed(lambda xs, ys: (xs.T, ys.T)),
            hint="steps run along the first axis",
        ),
        Mistake(
            "returns the last point at every step",
            _changed(lambda xs, ys: (xs[-1].expand_as(xs).clone(), ys[-1].expand_as(ys).clone())),
            hint="every entry of the path is one and the same tensor: make new ones instead of changing it",
        ),
    ],
)
