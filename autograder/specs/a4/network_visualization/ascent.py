"""class_visualization_step and deepdream_step."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, labels, normal, uniform
from dlcvkit.exercises.a4.network_visualization.gradients import convolutional, linear


def _label(*values):
    return given(list(values), dtype=torch.int64)


def _climb(model, images, targets, lr, l2, fault=""):
    if fault == "requires":
        images.requires_grad_()
    x = images.detach().clone().requires_grad_()
    rows = torch.arange(len(x), device=x.device)
    grey = {"black": 0.0, "white": 1.0}.get(fault, 0.5)
    penalty = (x - grey).abs().sum() if fault == "l1" else (x - grey).pow(2).sum()
    if fault == "mean penalty":
        penalty = penalty / x.numel()
    if fault == "mean penalty over images":
        penalty = penalty / len(x)
    scores = model(x)[rows, targets]
    ((scores.mean() if fault == "mean score" else scores.sum()) - l2 * penalty).backward()
    gradient = x.grad
    axes = {"l1 norm": 1, "inf norm": float("inf")}
    norm = torch.linalg.vector_norm(gradient.flatten(1), ord=axes.get(fault, 2), dim=1)
    if fault == "squared norm":
        norm = norm.square()
    if fault == "rms":
        norm = norm / x[0].numel() ** 0.5
    if fault == "eps":
        norm = norm + 1e-2
    if fault == "mean of the norms":
        norm = norm.mean().expand_as(norm)
    step = gradient / norm.clamp(min=1e-300 if gradient.dtype == torch.float64 else 1e-38).view(-1, 1, 1, 1)
    moved = images + lr * step
    if fault == "only below":
        return moved.clamp(min=0)
    if fault == "only above":
        return moved.clamp(max=1)
    if fault == "around 0":
        return moved.clamp(-1, 1)
    if fault == "sigmoid":
        return moved.sigmoid()
    if fault == "from grey":
        return (0.5 + lr * step).clamp(0, 1)
    if fault == "step":
        return step
    if fault == "rescaled":
        return (moved - moved.amin()) / (moved.amax() - moved.amin()).clamp(min=1e-12)
    return moved.clamp(0, 1)


def _climb_one_by_one(model, images, targets, lr, l2):
    out = []
    for image, target in zip(images, targets.tolist(), strict=True):
        x = image.detach()[None].clone().requires_grad_()
        (g,) = torch.autograd.grad(model(x)[0, target] - l2 * ((x - 0.5) ** 2).sum(), x)
        length = g.norm().item()
        out.append((image + lr * g[0] / length if length else image).clamp(0, 1))
    return torch.stack(out)


def _climb_by_normalize(model, images, targets, lr, l2):
    x = images.detach().requires_grad_()
    scores = (model(x) * functional.one_hot(targets, len(model(x)[0]))).sum()
    g = torch.autograd.grad(scores, x)[0] - l2 * (2 * images - 1)
    return torch.clip(images + lr * functional.normalize(g.reshape(len(g), -1)).reshape(g.shape), 0, 1)


def _spoilt(function, fault):
    return lambda *a: function(*a, fault)


_CLASS_FAULTS = (
    "requires,black,white,l1,mean penalty,mean penalty over images,mean score,l1 norm,inf norm,squared norm,rms,eps,"
    "mean of the norms,only below,only above,around 0,sigmoid,from grey,step,rescaled"
).split(",")

class_visualization_step = Hidden(
    cases=[
        Case(
            "one image", images=uniform(1, 3, 4, 5), targets=_label(2), lr=0.4, l2=0.2, weights=convolutional(3, 3, 4)
        ),
        Case("no penalty", images=uniform(3, 2, 3, 4), targets=labels(3, 3), lr=0.6, l2=0.0, weights=linear(3, 24)),
        Case(
            "a strong penalty", images=uniform(2, 1, 5, 4), targets=_label(0, 1), lr=0.2, l2=50.0, weights=linear(2, 20)
        ),
        Case(
            "a grey image",
            images=uniform(2, 2, 3, 3, low=0.5, high=0.5),
            targets=_label(0, 1),
            lr=0.3,
            l2=1.0,
            weights=linear(2, 18),
        ),
        Case("a tiny step", images=uniform(2, 3, 3, 4), targets=_label(1, 0), lr=1e-3, l2=0.1, weights=linear(2, 36)),
        Case(
            "pixels at 0 and 1",
            images=given([[[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]]]),
            targets=_label(1),
            lr=0.5,
            l2=0.1,
            weights=linear(2, 6),
        ),
        Case(
            "gradients of very different size",
            images=uniform(2, 1, 2, 3),
            targets=_label(0, 1),
            lr=0.3,
            l2=0.0,
            weights={
                "matrix": given([[1e3, -2e3, 5e2, 1e3, 0.0, 1e2], [1e-4, 2e-4, -1e-4, 0.0, 3e-4, 1e-4]]),
                "bias": normal(2),
            },
        ),
        Case(
            "two layers",
            images=uniform(3, 2, 6, 5),
            targets=_label(3, 0, 3),
            lr=0.7,
            l2=0.02,
            weights=convolutional(4, 2, 5, 4),
        ),
        Case("one pixel", images=uniform(2, 1, 1, 1), targets=_label(1, 0), lr=0.2, l2=0.3, weights=linear(2, 1)),
        Case(
            "non-contiguous",
            images=uniform(3, 2, 4, 5),
            targets=_label(2, 0, 1),
            lr=0.5,
            l2=0.1,
            weights=convolutional(3, 2, 4),
        ).strided(),
        Case(
            "float32",
            images=uniform(3, 3, 5, 4),
            targets=_label(0, 3, 1),
            lr=0.5,
            l2=0.1,
            weights=convolutional(4, 3, 6),
        ).float32(),
    ],
    mutants={fault: _spoilt(_climb, fault) for fault in _CLASS_FAULTS},
    solutions={
        "by backward": _climb,
        "one image at a time": _climb_one_by_one,
        "functional.normalize": _climb_by_normalize,
    },
)


def _dream(features, image, lr, shift, fault=""):
    down, across = shift
    if fault == "requires":
        image.requires_grad_()
    x = torch.roll(image.detach(), shifts=(down, across), dims=(-2, -1)).requires_grad_()
    if fault == "rolls one axis":
        x = torch.roll(image.detach(), shifts=down, dims=2).requires_grad_()
    if fault == "flat roll":
        x = torch.roll(image.detach(), shifts=down + across).requires_grad_()
    if fault == "positive shift":
        x = torch.roll(image.detach(), (abs(down), abs(across)), (2, 3)).requires_grad_()
    if fault == "zeros come in":
        x = image.detach().roll((down, across), (2, 3))
        if down > 0:
            x[:, :, :down] = 0
        x = x.requires_grad_()
    maps = features(x)
    strength = (maps**2).mean()
    if fault == "first map":
        strength = maps[:, 0].square().mean()
    if fault == "cubes":
        strength = maps.pow(3).mean()
    if fault == "half":
        strength = strength / 2
    strength.backward()
    gradient = torch.roll(x.grad, shifts=(-down, -across), dims=(-2, -1))
    if fault == "rolls one axis":
        gradient = torch.roll(x.grad, shifts=-down, dims=2)
    if fault == "flat roll":
        gradient = torch.roll(x.grad, shifts=-down - across)
    size = gradient.abs().mean()
    if fault == "median":
        size = gradient.abs().median()
    if fault == "rms":
        size = gradient.square().mean().sqrt()
    if fault == "channels":
        size = gradient.abs().mean(dim=(2, 3), keepdim=True)
    if fault == "eps":
        size = size + 1e-2
    if fault == "sign":
        gradient = gradient.sign()
    moved = image + lr * gradient / size if bool((size > 0).all()) else image.clone()
    if fault == "from the rolled image":
        moved = x.detach() + lr * gradient / size if size > 0 else image.clone()
    if fault == "not clipped":
        return moved, strength.detach()
    if fault == "only above":
        return moved.clamp(max=1), strength.detach()
    if fault == "only below":
        return moved.clamp(min=0), strength.detach()
    if fault == "graph":
        return moved.clamp(0, 1), (features(image) ** 2).mean()
    if fault == "after":
        with torch.no_grad():
            return moved.clamp(0, 1), features(moved.clamp(0, 1)).square().mean()
    if fault == "unrolled strength":
        with torch.no_grad():
            return moved.clamp(0, 1), features(image).square().mean()
    if fault == "image alone":
        return moved.clamp(0, 1)
    return moved.clamp(0, 1), strength.detach()


def _dream_by_indices(features, image, lr, shift):
    H, W = image.shape[2:]
    rows = (torch.arange(H, device=image.device) - shift[0]) % H
    columns = (torch.arange(W, device=image.device) - shift[1]) % W
    x = image.detach().clone().requires_grad_()
    strength = features(x[:, :, rows][..., columns]).square().mean()
    (g,) = torch.autograd.grad(strength, x)  # autograd goes back through the indexing
    size = float(g.abs().sum()) / g.numel()
    return [torch.clamp(image if size == 0 else image + (lr / size) * g, 0, 1), strength.item()]


def _dream_case(name, shape, widths, lr, shift, low=0.0, high=1.0):
    weights, before = {}, shape[1]
    for number, after in enumerate(widths, 1):
        weights[f"kernel{number}"] = normal(after, before, 3, 3)
        before = after
    return Case(name, image=uniform(*shape, low=low, high=high), lr=lr, shift=shift, weights=weights)


_DREAM_FAULTS = (
    "requires,rolls one axis,flat roll,positive shift,zeros come in,first map,cubes,half,median,rms,channels,eps,sign,"
    "from the rolled image,not clipped,only above,only below,graph,after,unrolled strength,image alone"
).split(",")

deepdream_step = Hidden(
    cases=[
        _dream_case("no shift", (1, 3, 4, 5), (4,), 0.02, [0, 0]),
        _dream_case("a shift of a whole turn and more", (1, 2, 4, 5), (3,), 0.05, [4, -7]),
        _dream_case("negative shifts", (1, 3, 6, 4), (4, 3), 0.03, [-2, -1]),
        _dream_case("one row", (1, 2, 1, 6), (3,), 0.05, [1, 2]),
        _dream_case("one channel", (1, 1, 5, 4), (2,), 0.05, [1, 1]),
        _dream_case("a very long step", (1, 2, 4, 3), (5,), 5.0, [1, 2]),
        _dream_case("a dark image", (1, 3, 4, 5), (4,), 0.1, [2, 1], high=1e-3),
        _dream_case("three layers", (1, 2, 6, 7), (3, 4, 5), 0.04, [3, -2]),
        _dream_case("non-contiguous", (1, 3, 5, 4), (4,), 0.05, [1, -2]).strided(),
        _dream_case("float32", (1, 3, 5, 6), (4, 3), 0.05, [2, 3]).float32(),
        Case(
            "faint maps",
            image=uniform(1, 2, 4, 5),
            lr=0.05,
            shift=[1, 2],
            weights={"kernel1": normal(3, 2, 3, 3, std=1e-4)},
        ),
    ],
    mutants={fault: _spoilt(_dream, fault) for fault in _DREAM_FAULTS},
    solutions={
        "by backward": _dream,
        "indexing instead of rolling": _dream_by_indices,
        "in float32": lambda features, image, lr, shift: _dream_by_indices(
            lambda x: features(x.to(image.dtype)), image, lr, shift
        ),
    },
    equivalent={
        "deepdream_step: image.roll((down, across), dims=(2, 3)).detach() -> image.roll((down, across), dims=(2, 3))": "no graph leads to the image, which is a tensor of its own here",
    },
)
