"""invert_features."""

from __future__ import annotations

import torch

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.network_visualization.inversion import _case as case


def _invert(features, target, start, penalty, lr, steps, fault=""):
    """With torch's Adam and backward; spoilt by one ``fault``."""
    if fault == "in the start":
        x = start.requires_grad_()
    elif fault == "changes the start":
        start.mul_(1.0 + 1e-3)
        x = start.detach().clone().requires_grad_()
    elif fault == "from grey":
        x = torch.full_like(start, 0.5).requires_grad_()
    else:
        x = start.detach().clone().requires_grad_()
    options = {
        "other betas": {"betas": (0.8, 0.999)},
        "weight decay": {"weight_decay": 0.1},
        "amsgrad": {"amsgrad": True},
        "large eps": {"eps": 1e-2},
    }.get(fault, {})
    rule = {"rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}.get(
        fault, torch.optim.Adam
    )
    optimizer = rule([x], lr=lr, **options)
    losses = []
    for number in range(steps + (fault == "one step more") - (fault == "one step less")):
        if fault != "adds up":
            optimizer.zero_grad()
        if fault == "new optimiser each step":
            optimizer = torch.optim.Adam([x], lr=lr)
        difference = features(x) - target
        distance = difference.abs().sum() / target.abs().sum() if fault == "absolute" else None
        if distance is None:
            distance = difference.pow(2).sum() / target.pow(2).sum()
        if fault == "mean of the target":
            distance = difference.pow(2).sum() / target.pow(2).mean()
        loss = distance + (penalty(x.detach()) if fault == "penalty without gradient" else penalty(x))
        if fault == "first penalty only" and number:
            loss = distance
        loss.backward()
        losses.append((distance if fault == "distance alone" else loss).item())
        optimizer.step()
        with torch.no_grad():
            if fault == "clips below only":
                x.clamp_(min=0)
            elif fault == "clips above only":
                x.clamp_(max=1)
            elif fault == "clips at 255":
                x.clamp_(0, 255)
            elif fault != "does not clip":
                x.clamp_(0, 1)
    if fault == "image alone":
        return x.detach()
    if fault == "losses first":
        return losses, x.detach()
    if fault == "requires gradients":
        return x, losses
    if fault == "mean of the losses":
        return x.detach(), sum(losses) / len(losses)
    return x.detach(), losses


def _by_hand(features, target, start, penalty, lr, steps):
    """Adam written out."""
    image, m, v = start.detach().clone(), torch.zeros_like(start), torch.zeros_like(start)
    losses = []
    for t in range(1, steps + 1):
        x = image.clone().requires_grad_()
        loss = ((features(x) - target) ** 2).sum() / (target**2).sum() + penalty(x)
        (g,) = torch.autograd.grad(loss, x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        image = image - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        image = image.clamp(0, 1)
        losses.append(loss.detach())
    return image, tuple(losses)


_FAULTS = (
    "in the start,changes the start,from grey,other betas,weight decay,amsgrad,large eps,rmsprop,adagrad,sgd,one step more,"
    "one step less,adds up,new optimiser each step,absolute,mean of the target,penalty without gradient,"
    "first penalty only,distance alone,clips below only,clips above only,clips at 255,does not clip,image alone,"
    "losses first,requires gradients,mean of the losses"
).split(",")

invert_features = Hidden(
    cases=[
        case("one step with a penalty", (1, 3, 4, 5), strength=0.5, lr=0.02, steps=1),
        case("two steps", (1, 1, 3, 4), strength=0.1, lr=0.05, steps=2),
        case("no penalty", (1, 2, 5, 3), strength=0.0, lr=0.03, steps=4),
        case("a penalty that outweighs everything", (1, 2, 4, 4), strength=20.0, lr=0.02, steps=5),
        case("steps far beyond the border", (1, 2, 3, 5), strength=0.1, lr=2.0, steps=5),
        case("two layers", (1, 3, 5, 4), strength=0.05, lr=0.05, steps=4, widths=(4, 6)),
        case("one row", (1, 2, 1, 5), strength=0.2, lr=0.05, steps=3),
        case("20 steps", (1, 2, 4, 3), strength=0.05, lr=0.05, steps=20),
        case("non-contiguous", (1, 3, 4, 5), strength=0.1, lr=0.05, steps=3).strided(),
        case("float32", (1, 2, 4, 5), strength=0.1, lr=0.02, steps=2).float32(),
    ],
    mutants={fault: (lambda *a, fault=fault: _invert(*a, fault)) for fault in _FAULTS},
    solutions={
        "backward and zero_grad": _invert,
        "Adam by hand": _by_hand,
    },
    equivalent={
        "invert_features: features(image) - target -> target - features(image)": "the difference is squared",
    },
)
