"""fooling_image."""

from __future__ import annotations

import torch

from dlcvkit.checking import Hidden, given
from dlcvkit.exercises.a4.network_visualization.fooling import _case as case
from dlcvkit.exercises.a4.network_visualization.gradients import convolutional, linear


def _fool(
    model,
    image,
    target,
    epsilon,
    step,
    max_steps,
    *,
    rival="best",
    projection="ball",
    after=False,
    requires=False,
    scale=1.0,
    extra=0,
    grow=1.0,
    noise=False,
):
    """The attack written out; the keywords switch mistakes on."""
    if requires:
        image.requires_grad_()
    current, first = image.detach().clone(), None
    for taken in range(max_steps + extra):
        x = current.clone().requires_grad_(True)
        scores = model(x.unsqueeze(0)).squeeze(0)
        if not after and scores.argmax().item() == target:
            return current, taken
        others = [scores[k] for k in range(len(scores)) if k != target]
        first = int(scores.argmax()) if first is None else first
        other = {
            "best": lambda others=others: torch.stack(others).max(),
            "mean": lambda others=others: torch.stack(others).mean(),
            "sum": lambda others=others: torch.stack(others).sum(),
            "first": lambda scores=scores, first=first: scores[first],
            "worst": lambda others=others: torch.stack(others).min(),
        }[rival]()
        (scores[target] - other).backward()
        current = current + scale * step * grow**taken * x.grad.sign()
        if projection == "ball":
            current = image + (current - image).clamp(-epsilon, epsilon)
        if projection == "l2":
            delta = current - image
            current = image + delta * min(1.0, epsilon / max(float(delta.norm()), 1e-12))
        if projection == "upper":
            current = torch.minimum(current, image + epsilon)
        if projection == "lower":
            current = torch.maximum(current, image - epsilon)
        current = current.clamp(0, 1).detach()
        if after and model(current[None]).argmax() == target:
            return current, taken + 1
    return current.detach(), max_steps


def _by_while(model, image, target, epsilon, step, max_steps):
    delta, taken = torch.zeros_like(image), 0
    while taken < max_steps:
        d = delta.clone().requires_grad_()
        scores = model((image + d)[None])[0]
        order = scores.argsort(descending=True, stable=True).tolist()
        if order[0] == target:
            break
        margin = scores[target] - scores[order[0]]
        margin.backward()
        delta = delta + step * torch.sign(d.grad)
        delta = torch.clamp(delta, -epsilon, epsilon)
        delta = (image + delta).clamp(0, 1) - image
        taken += 1
    return [image + delta, taken]


def _spoilt(**options):
    return lambda *a: _fool(*a, **options)


fooling_image = Hidden(
    cases=[
        case(
            "fooled already",
            (2, 3, 4),
            1,
            {"matrix": linear(3, 24)["matrix"], "bias": given([0.0, 1e3, 0.0])},
            epsilon=0.1,
            step=0.05,
            max_steps=9,
        ),
        case("no budget", (1, 4, 3), 0, linear(2, 12), epsilon=0.0, step=0.1, max_steps=4),
        case(
            "a step larger than the budget", (3, 3, 4), 2, convolutional(4, 3, 5), epsilon=0.02, step=0.5, max_steps=3
        ),
        case("one step", (2, 4, 5), 1, convolutional(3, 2, 4, 3), epsilon=0.3, step=0.04, max_steps=1),
        case("two classes", (1, 5, 4), 1, linear(2, 20), epsilon=0.8, step=0.01, max_steps=300),
        case(
            "pixels at 0 and 1",
            (1, 2, 3),
            2,
            linear(3, 6),
            image=given([[[0.0, 1.0, 0.5], [1.0, 0.0, 0.98]]]),
            epsilon=0.2,
            step=0.07,
            max_steps=6,
        ),
        case(
            "pixels that do not matter",
            (1, 2, 3),
            0,
            {
                "matrix": given([[1.0, 0.0, -2.0, 0.5, 0.0, 0.0], [2.0, 0.0, 1.0, 0.5, 0.0, 1.0]]),
                "bias": given([0.0, 1.0]),
            },
            epsilon=0.3,
            step=0.04,
            max_steps=5,
        ),
        case(
            "equal scores, the first class counts",
            (1, 1, 2),
            1,
            {"matrix": given([[1.0, 1.0], [1.0, 1.0], [0.5, 0.0]]), "bias": given([0.0, 0.0, 0.0])},
            epsilon=0.2,
            step=0.05,
            max_steps=3,
        ),
        case(
            "another class comes to the top on the way",
            (1, 1, 3),
            0,
            {"matrix": given([[1.0, 3.0, 0.0], [0.0, 0.0, 1.0], [6.0, -1.0, 0.0]]), "bias": given([-0.3, 0.5, -0.1])},
            image=given([[[0.2, 0.2, 0.5]]]),
            epsilon=0.9,
            step=0.03,
            max_steps=60,
        ),
        case("non-contiguous", (2, 4, 3), 3, linear(4, 24), epsilon=0.4, step=0.02, max_steps=40)._with(
            is_strided=True
        ),
        case("float32", (3, 4, 5), 1, linear(3, 60), epsilon=0.5, step=0.03125, max_steps=40).float32(),
    ],
    mutants={
        "against the mean of the others": _spoilt(rival="mean"),
        "against the sum of the others": _spoilt(rival="sum"),
        "against the first answer throughout": _spoilt(rival="first"),
        "against the worst": _spoilt(rival="worst"),
        "a Euclidean budget": _spoilt(projection="l2"),
        "no budget": _spoilt(projection="none"),
        "only the upper limit": _spoilt(projection="upper"),
        "only the lower limit": _spoilt(projection="lower"),
        "asks after the step only": _spoilt(after=True),
        "makes the image require gradients": _spoilt(requires=True),
        "half steps": _spoilt(scale=0.5),
        "one step more": _spoilt(extra=1),
        "growing steps": _spoilt(grow=1.2),
        "returns the change": lambda *a: (_fool(*a)[0] - a[1], _fool(*a)[1]),
        "returns the image alone": lambda *a: _fool(*a)[0],
        "keeps the axis of the batch": lambda *a: (_fool(*a)[0][None], _fool(*a)[1]),
        "steps first": lambda *a: _fool(*a)[::-1],
        "the image as it came": lambda *a: (a[1].clone(), _fool(*a)[1]),
    },
    solutions={
        "written out, backward": _fool,
        "the change is kept instead of the image": _by_while,
    },
)
