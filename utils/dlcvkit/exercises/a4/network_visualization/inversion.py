"""Feature inversion: the image whose features are those of another."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, normal, uniform
from dlcvkit.exercises.a4.network_visualization.networks import features, gradient_of, ran


def _penalty(strength):
    """A penalty that depends on neighbours, as a student may be given one."""

    def penalty(images):
        return strength * functional.mse_loss(images[..., 1:], images[..., :-1], reduction="sum")

    return penalty


def _call(function, target, start, strength, lr, steps, weights):
    model, penalty = features(weights), _penalty(strength)
    return ran(function, model, target, start, penalty, lr, steps, target=target, start=start)


def _relative(maps, target):
    return functional.mse_loss(maps, target, reduction="sum") / (target * target).sum()


def _inverted(
    *,
    distance=_relative,
    penalty=1.0,
    rule=torch.optim.Adam,
    clamp="each",
    losses="before",
    fixed=False,
    adds_up=False,
    ascends=False,
):
    """The descent, each keyword a place where it can go wrong."""

    def run(target, start, strength, lr, steps, weights):
        model, smooth = features(weights), _penalty(strength)

        def energy(x):
            return distance(model(x), target) + penalty * smooth(x)

        x = start.clone()
        optimiser = rule([x], lr=lr, **({"maximize": True} if ascends else {}))
        values, first = [], gradient_of(energy, x)
        for _ in range(steps):
            values.append(energy(x).item())
            gradient = first if fixed else gradient_of(energy, x)
            x.grad = x.grad + gradient if adds_up and x.grad is not None else gradient
            optimiser.step()
            if clamp == "each":
                x.copy_(x.clamp(0, 1))
        if losses == "after":
            values = [*values[1:], energy(x).item()]
        if losses == "last":
            return x, values[-1]
        return (x.clamp(0, 1) if clamp == "end" else x), values

    return run


def _case(name, shape, *, strength, lr, steps, widths=(4,), **options):
    before = shape[1]
    weights = {}
    for number, after in enumerate(widths, 1):
        weights[f"kernel{number}"] = normal(after, before, 3, 3, std=0.5)
        before = after
    target = normal(1, before, *shape[2:], mean=1.0)
    inputs = {"target": target, "start": uniform(*shape, low=0.2, high=0.8), "strength": strength}
    return Case(name, **{**inputs, "lr": lr, "steps": steps, "weights": weights, **options})


invert_features = Function(
    functions=("invert_features",),
    reference=_inverted(),
    call=_call,
    cases=[
        _case("one step, 1×2×4×3", (1, 2, 4, 3), strength=0.0, lr=0.05, steps=1),
        _case("5 steps, 1×3×5×4", (1, 3, 5, 4), strength=0.02, lr=0.1, steps=5),
        _case("6 steps, pixels at the border", (1, 1, 4, 6), strength=0.1, lr=0.3, steps=6, widths=(3, 5)),
    ],
    points={"image": 4, "losses": 2},
    mistakes=[
        Mistake(
            "does not divide by the size of the target",
            _inverted(distance=lambda maps, target: functional.mse_loss(maps, target, reduction="sum")),
            hint="the distance is relative: divide by the sum of the target's squares",
        ),
        Mistake(
            "takes the mean of the squares for the distance",
            _inverted(distance=lambda maps, target: functional.mse_loss(maps, target)),
            hint="the distance is relative: divide by the sum of the target's squares, not by the number of entries",
        ),
        Mistake(
            "divides by the norm instead of its square",
            _inverted(distance=lambda maps, target: (maps - target).square().sum() / target.norm()),
            hint="both the numerator and the denominator are squared norms",
        ),
        Mistake(
            "divides by the features of the image instead of the target's",
            _inverted(distance=lambda maps, target: (maps - target).square().sum() / maps.square().sum()),
            hint="the denominator is a constant: the target's",
        ),
        Mistake(
            "takes norms instead of their squares",
            _inverted(distance=lambda maps, target: (maps - target).norm() / target.norm()),
            hint="squared norms, without a root",
        ),
        Mistake(
            "leaves the penalty out",
            _inverted(penalty=0.0),
            hint="the energy has two terms",
        ),
        Mistake(
            "subtracts the penalty",
            _inverted(penalty=-1.0),
            hint="a penalty is added to what is made small",
        ),
        Mistake(
            "takes steps of plain gradient descent",
            _inverted(rule=torch.optim.SGD),
            hint="the step is Adam's",
        ),
        Mistake(
            "adds up the gradients of all steps",
            _inverted(adds_up=True),
            hint="backward adds to .grad: what has to happen before the next one?",
        ),
        Mistake(
            "keeps the gradient of the first step",
            _inverted(fixed=True),
            hint="features and gradient have to be computed anew in every step",
        ),
        Mistake(
            "climbs instead of descending",
            _inverted(ascends=True),
            hint="the energy is to become small",
        ),
        Mistake(
            "lets pixels leave [0, 1]",
            _inverted(clamp="never"),
            hint="a pixel is between 0 and 1, or it cannot be shown",
        ),
        Mistake(
            "clamps at the end only",
            _inverted(clamp="end"),
            hint="clamp after every step, so that the next one starts from an image",
        ),
        Mistake(
            "notes the energy after each step",
            _inverted(losses="after"),
            hint="entry t belongs to the image before step t: the first is the energy of the start",
        ),
        Mistake(
            "returns the last energy alone",
            _inverted(losses="last"),
            hint="one number per step, in a list",
        ),
    ],
)
