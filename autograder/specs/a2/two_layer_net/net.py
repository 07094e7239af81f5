"""First weights, and the two-layer net, spoilt by one fault at a time."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, labels, normal

from .losses import softmax, softmax_by_differences, softmax_by_rows

# First weights.


def _weights(
    input_dim,
    hidden_dim,
    num_classes,
    weight_scale,
    generator=None,
    device="cpu",
    dtype=torch.float32,
    *,
    draw=torch.randn,
    fault="",
):
    """First weights, spoilt by one ``fault``."""
    place = {"device": device, "dtype": dtype}
    if fault == "no dtype":
        del place["dtype"]
    if fault == "no device":
        del place["device"]
    if fault == "no generator":
        generator = None
    if fault == "generator of its own":
        generator = torch.Generator().manual_seed(0)
    weights = {
        "W1": weight_scale * draw(input_dim, hidden_dim, generator=generator, **place),
        "b1": torch.zeros(hidden_dim, **place),
        "W2": weight_scale * draw(hidden_dim, num_classes, generator=generator, **place),
        "b2": torch.zeros(num_classes, **place),
    }
    if fault == "transposed":
        weights["W1"], weights["W2"] = weights["W1"].T, weights["W2"].T
    if fault == "biases as rows":
        weights["b1"], weights["b2"] = weights["b1"][None], weights["b2"][None]
    if fault == "random biases":
        weights["b1"] = weight_scale * draw(hidden_dim, generator=generator, **place)
    if fault == "biases of one":
        weights["b2"] = weights["b2"] + 1
    if fault == "bias of the wrong layer":
        weights["b1"], weights["b2"] = weights["b2"], weights["b1"]
    if fault == "weights of zero":
        weights["W1"] = torch.zeros_like(weights["W1"])
    if fault == "second layer not scaled":
        weights["W2"] = weights["W2"] / weight_scale
    if fault == "scaled by the square":
        weights["W1"] = weights["W1"] * weight_scale
    if fault == "scaled by the root":
        weights["W1"] = weights["W1"] / weight_scale**0.5
    if fault == "scaled by the inputs":
        weights["W1"] = weights["W1"] / input_dim**0.5
    if fault == "absolute values":
        weights["W1"] = weights["W1"].abs()
    if fault == "one row for all":
        weights["W1"] = weights["W1"][:1].expand(input_dim, -1).clone()
    if fault == "W2 out of W1":
        count = hidden_dim * num_classes
        weights["W2"] = weights["W1"].flatten().repeat(count)[:count].reshape(hidden_dim, num_classes)
    if fault == "a list":
        return list(weights.values())
    if fault == "other names":
        return {name.lower(): w for name, w in weights.items()}
    if fault == "biases in float32":
        weights["b1"] = weights["b1"].float()
    return weights


def _with_fault(fault):
    return lambda *sizes, **options: _weights(*sizes, **options, fault=fault)


def _shifted_uniform(*shape, **options):
    return 12**0.5 * (torch.rand(*shape, **options) - 0.5)


def _weights_filled(input_dim, hidden_dim, num_classes, weight_scale, generator=None, device="cpu", dtype=None):
    dtype = dtype or torch.float32
    made = {}
    for number, (rows, columns) in reversed(list(enumerate([(input_dim, hidden_dim), (hidden_dim, num_classes)], 1))):
        w = torch.empty(columns, rows, device=device, dtype=dtype).normal_(0, weight_scale, generator=generator)
        made |= {f"b{number}": w.new_zeros(columns), f"W{number}": w.T}
    return made


def _weights_at_once(
    input_dim, hidden_dim, num_classes, weight_scale, generator=None, device="cpu", dtype=torch.float32
):
    sizes = [input_dim * hidden_dim, hidden_dim * num_classes]
    numbers = torch.normal(0.0, weight_scale, (sum(sizes),), generator=generator, device=device, dtype=dtype)
    first, second = numbers.split(sizes)
    return {
        "b1": torch.full((hidden_dim,), 0.0, device=device, dtype=dtype),
        "b2": torch.full((num_classes,), 0.0, device=device, dtype=dtype),
        "W1": first.view(input_dim, hidden_dim),
        "W2": second.view(hidden_dim, num_classes),
    }


def _sizes(name, input_dim, hidden_dim, num_classes, weight_scale, seed, dtype="float32"):
    return Case(
        name,
        input_dim=input_dim,
        hidden_dim=hidden_dim,
        num_classes=num_classes,
        weight_scale=weight_scale,
        seed=seed,
        dtype=dtype,
    )


initialize_weights = Hidden(
    cases=[
        _sizes("one of everything", 1, 1, 1, 0.3, 3),
        _sizes("one class", 7, 40, 1, 0.2, 4, "float64"),
        _sizes("one hidden unit", 50, 1, 40, 2.0, 5),
        _sizes("a scale of 1", 30, 50, 40, 1.0, 6, "float64"),
        _sizes("a scale of 0.0001", 80, 40, 60, 1e-4, 7),
        _sizes("a scale of 25", 40, 90, 30, 25.0, 8, "float64"),
    ],
    mutants={
        **{
            fault: _with_fault(fault)
            for fault in (
                "no dtype",
                "no device",
                "no generator",
                "generator of its own",
                "transposed",
                "biases as rows",
                "random biases",
                "biases of one",
                "bias of the wrong layer",
                "weights of zero",
                "second layer not scaled",
                "scaled by the square",
                "scaled by the root",
                "scaled by the inputs",
                "absolute values",
                "one row for all",
                "W2 out of W1",
                "a list",
                "other names",
                "biases in float32",
            )
        },
        "uniform from 0 to 1": lambda *sizes, **options: _weights(*sizes, **options, draw=torch.rand),
        "uniform with the right size": lambda *sizes, **options: _weights(*sizes, **options, draw=_shifted_uniform),
    },
    solutions={
        "filled, transposed, second layer first": _weights_filled,
        "drawn at once and split": _weights_at_once,
    },
)


# The net.


class _Net:
    """The net written out, spoilt by one ``fault``."""

    fault = ""

    def __init__(
        self,
        input_dim,
        hidden_dim,
        num_classes,
        weight_scale=1e-3,
        reg=0.0,
        generator=None,
        device="cpu",
        dtype=torch.float32,
    ):
        self.params = _weights(input_dim, hidden_dim, num_classes, weight_scale, generator, device, dtype)
        self.first = dict(self.params)
        self.reg = 0.1 if self.fault == "reg fixed" else reg

    def loss(self, X, y=None):
        fault = self.fault
        W1, b1, W2, b2 = (
            (self.first if fault == "keeps its first weights" else self.params)[name].to(X)
            for name in ("W1", "b1", "W2", "b2")
        )
        rows = X if fault == "takes rows only" else X.flatten(1)
        hidden = rows @ W1 + b1
        active = hidden.clamp(min=0)
        scores = active @ W2 + b2
        if fault == "softmax in the scores":
            scores = (scores - scores.amax(1, keepdim=True)).exp()
            scores = scores / scores.sum(1, keepdim=True)
        if y is None:
            return scores.argmax(1) if fault == "labels for scores" else scores
        if fault == "scores in any case":
            return scores
        loss, d = softmax(scores, y, "no shift" if fault == "no shift" else "")
        loss = loss + 0.5 * self.reg * ((W1**2).sum() + (W2**2).sum())
        dactive = d @ (W2 + 0 if fault != "sign of W2" else -W2).T
        dhidden = dactive * (active > 0 if fault != "gate by the scores" else dactive > 0)
        grads = {
            "W1": rows.T @ dhidden + self.reg * W1,
            "b1": (dactive if fault == "db1 past the gate" else dhidden).sum(0),
            "W2": active.T @ d + self.reg * W2,
            "b2": d.sum(0),
        }
        if fault == "regulariser not in dW1":
            grads["W1"] = rows.T @ dhidden
        if fault == "regulariser not in dW2":
            grads["W2"] = active.T @ d
        if fault == "W2 twice in dW1":
            grads["W1"] = rows.T @ dhidden + self.reg * W1 * 2
        if fault == "regulariser in the gradients of the biases":
            grads["b1"] = grads["b1"] + self.reg * b1
        if fault == "reg squared":
            grads["W1"] = rows.T @ dhidden + self.reg**2 * W1
        if fault == "means for db":
            grads |= {"b1": dhidden.mean(0), "b2": d.mean(0)}
        if fault == "b2 forgotten":
            del grads["b2"]
        if fault == "no gradient of the hidden layer":
            grads |= {"W1": torch.zeros_like(W1), "b1": torch.zeros_like(b1)}
        if fault == "names with a d":
            grads = {f"d{name}": value for name, value in grads.items()}
        if fault == "a list":
            grads = list(grads.values())
        if fault == "steps at once":
            for name, value in grads.items():
                self.params[name] = self.params[name] - 0.1 * value
        if fault == "weights decay":
            self.params["W1"].mul_(0.9)
        if fault == "changes X":
            X -= 1
        if fault == "three results":
            return loss, grads, scores
        if fault == "loss alone":
            return loss
        if fault == "in float32":
            grads = {name: value.float() for name, value in grads.items()}
        return loss, grads


def _net(fault):
    return type("TwoLayerNet", (_Net,), {"fault": fault})


class _TransposedNet(_Net):
    """Column by column, with one weight of ones for the biases."""

    def loss(self, X, y=None):
        p = self.params
        ones = torch.ones(len(X), 1, dtype=X.dtype, device=X.device)
        x = torch.cat([X.reshape(len(X), -1), ones], 1).T  # (D + 1, N)
        V1, V2 = torch.cat([p["W1"], p["b1"][None]]), torch.cat([p["W2"], p["b2"][None]])
        inside = V1.T @ x
        active = torch.cat([torch.where(inside > 0, inside, 0.0), ones.T])
        scores = (V2.T @ active).T
        if y is None:
            return scores
        data, slopes = softmax_by_differences(scores, y)
        d2 = active @ slopes
        d1 = x @ ((slopes @ V2[:-1].T) * (inside.T > 0))
        penalty = self.reg / 2 * (p["W1"].norm() ** 2 + p["W2"].norm() ** 2)
        grads = {"b2": d2[-1], "W2": d2[:-1] + self.reg * p["W2"], "b1": d1[-1], "W1": self.reg * p["W1"] + d1[:-1]}
        return (data + penalty).item(), {**grads, "extra": None}


class _NetByImage(_Net):
    """Image by image, in float32."""

    def loss(self, X, y=None):
        p = {name: w.float() for name, w in self.params.items()}
        scores = torch.stack([(x.float().flatten() @ p["W1"] + p["b1"]).clamp(min=0) @ p["W2"] + p["b2"] for x in X])
        if y is None:
            return scores
        loss, d = softmax_by_rows(scores, y)
        grads = {name: (0.0 if name[0] == "b" else self.reg) * w for name, w in p.items()}
        for x, slope in zip(X.float().flatten(1), d, strict=True):
            active = (x @ p["W1"] + p["b1"]).clamp(min=0)
            inner = (p["W2"] @ slope) * active.sign()
            steps = {"W1": torch.outer(x, inner), "b1": inner, "W2": torch.outer(active, slope), "b2": slope}
            grads = {name: grads[name] + step for name, step in steps.items()}
        return [loss + 0.5 * self.reg * sum(float((p[name] ** 2).sum()) for name in ("W1", "W2")), grads]


def _net_case(name, sizes, reg, shape=None, std=0.6, scale=1.0, **zeros):
    count, features, hidden, classes = sizes
    init = {"input_dim": features, "hidden_dim": hidden, "num_classes": classes, "weight_scale": 0.1, "reg": reg}
    shapes = {"W1": (features, hidden), "b1": (hidden,), "W2": (hidden, classes), "b2": (classes,)}
    params = {name: normal(*each, std=zeros.get(name, std)) for name, each in shapes.items()}
    return Case(
        name,
        init=init,
        params=params,
        X=normal(*(shape or (count, features)), std=scale),
        y=labels(count, classes),
    )


two_layer_net = Hidden(
    cases=[
        _net_case("one image", (1, 4, 5, 3), 0.2),
        _net_case("one class", (4, 3, 4, 1), 0.5),
        _net_case("one hidden unit", (6, 5, 1, 3), 0.0),
        _net_case("one feature", (5, 1, 6, 4), 1.0),
        _net_case("reg 100", (4, 3, 5, 3), 100.0),
        _net_case("reg 1e-4", (7, 4, 6, 5), 1e-4),
        _net_case("images, one of them", (1, 8, 3, 4), 3.0, shape=(1, 2, 2, 2)),
        _net_case("float32", (6, 5, 7, 4), 0.3).float32(),
        _net_case("non-contiguous", (4, 6, 5, 3), 0.7, shape=(4, 3, 2)).strided(),
        _net_case("scores of 10,000", (5, 4, 6, 3), 1e-3, std=10.0, scale=100.0),
        _net_case("weights of zero", (4, 3, 5, 4), 0.4, std=0.0),
        _net_case("second layer of zero", (4, 3, 5, 4), 0.4, W2=0.0),
        _net_case("a batch of 40", (40, 9, 12, 10), 0.05),
    ],
    mutants={
        fault: _net(fault)
        for fault in (
            "reg fixed",
            "keeps its first weights",
            "takes rows only",
            "softmax in the scores",
            "labels for scores",
            "scores in any case",
            "no shift",
            "sign of W2",
            "gate by the scores",
            "db1 past the gate",
            "regulariser not in dW1",
            "regulariser not in dW2",
            "W2 twice in dW1",
            "regulariser in the gradients of the biases",
            "reg squared",
            "means for db",
            "b2 forgotten",
            "no gradient of the hidden layer",
            "names with a d",
            "a list",
            "steps at once",
            "weights decay",
            "changes X",
            "three results",
            "loss alone",
        )
    },
    solutions={
        "columns, biases as weights of 1": _TransposedNet,
        "image by image, in float32": _NetByImage,
        "gradients in float32": _net("in float32"),
    },
)
