"""Hidden cases, mutants and other solutions of the style loss and the mixture of styles."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal, uniform


def _gram(x):
    return x.flatten(2) @ x.flatten(2).mT / x[0].numel()


def _style(features, targets, weights):
    total = 0.0
    for name, weight in weights.items():
        total = total + weight * (_gram(features[name]) - targets[name]).square().sum((1, 2)).mean()
    return total


def _style_by_norm(features, targets, weights):
    shares = []
    for name in sorted(weights):
        x = features[name]
        gram = torch.einsum("nchw,ndhw->ncd", x, x) / x[0].numel()
        shares.append(weights[name] * torch.linalg.matrix_norm(gram - targets[name], ord="fro").square().mean())
    return torch.stack(shares).sum()


def _style_image_by_image(features, targets, weights):
    total, count = 0, 0
    for name in weights:
        count = len(features[name])
        target = targets[name][0]
        for maps in features[name]:
            flat = maps.reshape(len(maps), -1)
            difference = (flat @ flat.T) / maps.numel() - target
            total = total + weights[name] * torch.sum(difference * difference)
    return total / count


def _style_in_float32(features, targets, weights):
    return sum(
        w * (_gram(features[n].float()) - targets[n].float()).pow(2).sum() / len(features[n])
        for n, w in weights.items()
    )


def _style_by_position(features, targets, weights):
    """Layers are taken by their place instead of their name."""
    return sum(
        weight * (_gram(x) - target).square().sum((1, 2)).mean()
        for x, target, weight in zip(features.values(), targets.values(), weights.values(), strict=False)
    )


def _style_in_place(features, targets, weights):
    for name in weights:
        targets[name] -= 1
    return _style(features, targets, weights)


def _style_of_first_image(features, targets, weights):
    return _style({name: maps[:1] for name, maps in features.items()}, targets, weights)


def _layer(channels, height, width, count=2, std=1.0):
    return normal(count, channels, height, width, std=std), normal(1, channels, channels, std=0.5 * std * std)


def _case(name, weights, **layers):
    return Case(
        name,
        features={key: maps for key, (maps, _) in layers.items()},
        targets={key: target for key, (_, target) in layers.items()},
        weights=weights,
    )


style_loss = Hidden(
    cases=[
        _case("one layer", {"a": 1.5}, a=_layer(3, 4, 2)),
        _case("one map", {"a": 2.0, "b": 0.5}, a=_layer(1, 3, 5), b=_layer(2, 3, 1)),
        _case("one position", {"a": 1.0}, a=_layer(4, 1, 1, count=3)),
        _case("one image", {"a": 0.1, "b": 10.0}, a=_layer(3, 2, 4, count=1), b=_layer(4, 1, 2, count=1)),
        _case(
            "weights in another order",
            {"c": 3.0, "b": 0.5, "a": 1.0},
            a=_layer(2, 3, 4),
            b=_layer(3, 2, 2),
            c=_layer(2, 1, 3),
        ),
        _case("a weight for the last layer only", {"c": 2.0}, a=_layer(2, 3, 4), b=_layer(3, 2, 2), c=_layer(2, 1, 3)),
        _case("one layer's weight is 0", {"a": 0.0, "b": 2.0}, a=_layer(2, 3, 4), b=_layer(3, 2, 2)),
        _case("non-contiguous", {"a": 1.0, "b": 2.0}, a=_layer(4, 3, 5), b=_layer(3, 2, 4)).strided(),
        _case("float32", {"a": 1.0, "b": 2.0}, a=_layer(4, 3, 5), b=_layer(3, 2, 4)).float32(),
        _case("maps of 1,000", {"a": 0.5, "b": 2.0}, a=_layer(4, 3, 5, std=1e3), b=_layer(3, 2, 4, std=1e3)),
        _case("layers of equal shape", {"a": 0.5, "b": 2.0}, a=_layer(3, 3, 3, count=3), b=_layer(3, 3, 3, count=3)),
    ],
    mutants={
        "takes layers by place": _style_by_position,
        "changes targets": _style_in_place,
        "looks at the first image only": _style_of_first_image,
        "is cut off from features": lambda features, targets, weights: _style(
            {name: maps.detach() for name, maps in features.items()}, targets, weights
        ),
        "returns a number": lambda features, targets, weights: float(_style(features, targets, weights)),
        "returns nothing": lambda features, targets, weights: None,
        "adds the Gram matrices": lambda features, targets, weights: _style(
            features, {name: -target for name, target in targets.items()}, weights
        ),
        "leaves the targets out": lambda features, targets, weights: _style(
            features, {name: 0 * target for name, target in targets.items()}, weights
        ),
        "multiplies the layers": lambda features, targets, weights: torch.stack(
            [_style(features, targets, {name: weight}) for name, weight in weights.items()]
        ).prod(),
        "takes the largest share": lambda features, targets, weights: torch.stack(
            [_style(features, targets, {name: weight}) for name, weight in weights.items()]
        ).amax(),
        "keeps the layers apart": lambda features, targets, weights: torch.stack(
            [_style(features, targets, {name: weight}) for name, weight in weights.items()]
        ),
        "compares the diagonals only": lambda features, targets, weights: sum(
            weight * (_gram(features[name]) - targets[name]).diagonal(dim1=1, dim2=2).square().sum(1).mean()
            for name, weight in weights.items()
        ),
        "counts each pair of channels once": lambda features, targets, weights: sum(
            weight * (_gram(features[name]) - targets[name]).triu().square().sum((1, 2)).mean()
            for name, weight in weights.items()
        ),
        "divides by the channels once more": lambda features, targets, weights: sum(
            _style(features, targets, {name: weight / features[name].shape[1]}) for name, weight in weights.items()
        ),
    },
    solutions={
        "matrix norms, sorted": _style_by_norm,
        "image by image": _style_image_by_image,
        "in float32": _style_in_float32,
    },
    equivalent={"style_loss: gram - targets[layer] -> targets[layer] - gram": "the difference is squared"},
)


# The mixture.


def _mix(targets, weights):
    if bool((weights < 0).any()) or float(weights.sum()) == 0:
        raise ValueError(f"weights are at least 0 and not all 0, not {weights.tolist()}")
    return {name: torch.einsum("s,sij->ij", weights / weights.sum(), each)[None] for name, each in targets.items()}


def _mix_by_loop(targets, weights):
    values = weights.tolist()
    if min(values) < 0 or not any(values):
        raise ValueError("no proportions")
    mixture = {}
    for name in targets:
        total = torch.zeros_like(targets[name][:1])
        for gram, weight in zip(targets[name], values, strict=True):
            total += weight / sum(values) * gram
        mixture[name] = total
    return mixture


def _mix_in_float32(targets, weights):
    if weights.min() < 0 or weights.max() == 0:
        raise ValueError("no proportions")
    shares = (weights / weights.sum()).float().reshape(1, -1)
    return {name: (shares @ each.float().flatten(1)).reshape(1, *each.shape[1:]) for name, each in targets.items()}


def _mix_by_average(targets, weights):
    if not bool((weights >= 0).all()) or not bool(weights.any()):
        raise ValueError("no proportions")
    column = weights.reshape(-1, 1, 1)
    return {name: (column * each).sum(0, keepdim=True).div(column.sum()) for name, each in targets.items()}


def _unchecked(mixture):
    """A mixture that refuses what it should and is otherwise as given."""

    def mix(targets, weights):
        _mix(targets, weights)
        return mixture(targets, weights)

    return mix


def _mix_in_place(targets, weights):
    if bool((weights < 0).any()) or float(weights.sum()) == 0:
        raise ValueError("no proportions")
    weights /= weights.sum()
    return {name: torch.einsum("s,sij->ij", weights, each)[None] for name, each in targets.items()}


def _mix_with_another_error(targets, weights):
    assert bool((weights >= 0).all()) and bool(weights.any())
    return _mix(targets, weights)


def _mix_refusing_zeros(targets, weights):
    if bool((weights <= 0).any()):
        raise ValueError("no proportions")
    return _mix(targets, weights)


def _mix_of_features(targets, weights):
    root = (weights / weights.sum()).sqrt()
    return {name: torch.einsum("s,sij->ij", root, each)[None] for name, each in targets.items()}


style_mix = Hidden(
    cases=[
        Case("one style", targets={"a": normal(1, 3, 3)}, weights=given([0.2])),
        Case("one map", targets={"a": normal(2, 1, 1), "b": normal(2, 4, 4)}, weights=given([0.5, 1.5])),
        Case("all weight on one style", targets={"a": normal(3, 2, 2)}, weights=given([0.0, 5.0, 0.0])),
        Case("as many styles as maps", targets={"a": normal(4, 4, 4)}, weights=uniform(4, low=0.1, high=3.0)),
        Case("weights of a million", targets={"a": normal(2, 3, 3), "b": normal(2, 2, 2)}, weights=given([1e6, 3e6])),
        Case("weights of a millionth", targets={"a": normal(2, 3, 3)}, weights=given([1e-6, 2e-6])),
        Case(
            "non-contiguous", targets={"a": normal(3, 4, 4), "b": normal(3, 2, 2)}, weights=uniform(3, low=0.1)
        ).strided(),
        Case("float32", targets={"a": normal(3, 4, 4), "b": normal(3, 2, 2)}, weights=uniform(3, low=0.1)).float32(),
        Case("three layers", targets={name: normal(2, 3, 3) for name in "abc"}, weights=given([4.0, 1.0])),
        Case("Gram matrices of 10,000", targets={"a": normal(2, 3, 3, std=1e4)}, weights=given([1.0, 2.0])),
    ],
    mutants={
        "changes weights": _mix_in_place,
        "raises another error": _mix_with_another_error,
        "refuses single weights of zero": _mix_refusing_zeros,
        "roots of the shares": _unchecked(_mix_of_features),
        "styles in reverse order": _unchecked(lambda targets, weights: _mix(targets, weights.flip(0))),
        "returns a list": _unchecked(lambda targets, weights: list(_mix(targets, weights).values())),
        "returns a dict of lists": _unchecked(
            lambda targets, weights: {n: [g] for n, g in _mix(targets, weights).items()}
        ),
        "the first layer only": _unchecked(
            lambda targets, weights: dict(list(_mix(targets, weights).items())[:1]) | dict.fromkeys(list(targets)[1:])
        ),
        "other names": _unchecked(
            lambda targets, weights: {f"{n} mixed": g for n, g in _mix(targets, weights).items()}
        ),
        "adds over the wrong axis": _unchecked(lambda targets, weights: {n: g.mean(1) for n, g in targets.items()}),
        "returns nothing": lambda targets, weights: None,
        "returns an error instead of raising it": lambda targets, weights: (
            ValueError("no") if bool((weights < 0).any()) or not bool(weights.any()) else _mix(targets, weights)
        ),
        "the largest weight counts 1": _unchecked(
            lambda targets, weights: {
                n: torch.einsum("s,sij->ij", weights / weights.amax(), g)[None] for n, g in targets.items()
            }
        ),
        "integers": _unchecked(lambda targets, weights: _mix(targets, (weights / weights.sum()).round() + 1e-9)),
    },
    solutions={
        "style by style, with plain numbers": _mix_by_loop,
        "one product, in float32": _mix_in_float32,
        "a weighted average": _mix_by_average,
    },
)
