"""Hidden cases, mutants and other solutions for solutions/a2/two_layer_net.py."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, labels, normal
from dlcvkit.layers import affine_backward as ready_affine_backward
from dlcvkit.layers import affine_forward as ready_affine_forward
from dlcvkit.layers import relu_backward as ready_relu_backward
from dlcvkit.layers import relu_forward as ready_relu_forward

_INDICES = "indices on the CPU may index a tensor on any device"


def _label(*values):
    return given(list(values), dtype=torch.int64)


# The affine layer.


def _forward(x, w, b):
    return x.flatten(1) @ w + b, (x, w, b)


def _backward(dout, cache, fault=""):
    """The three gradients, spoilt by one ``fault``."""
    x, w, _ = cache
    rows = x.flatten(1)
    upstream = dout
    if fault == "upstream without sign":
        upstream = dout.abs()
    if fault == "mean upstream":
        upstream = dout.mean(0, keepdim=True).expand_as(dout)
    dx, dw, db = (upstream @ w.T).reshape(x.shape), rows.T @ upstream, upstream.sum(0)
    if fault == "first image only":
        dw = rows[:1].T @ dout[:1]
    if fault == "last image left out":
        dw, db = rows[:-1].T @ dout[:-1], dout[:-1].sum(0)
    if fault == "opposite sign":
        dx, dw, db = -dx, -dw, -db
    if fault == "dw first":
        return dw, dx, db
    if fault == "db first":
        return db, dw, dx
    if fault == "two gradients":
        return dx, dw
    if fault == "db keeps an axis":
        db = db[None]
    if fault == "float32":
        dw = dw.float()
    if fault == "w added to dw":
        dw = dw + w
    if fault == "divided by the outputs":
        dx = dx / w.shape[1]
    return dx, dw, db


def _spoilt(backward, fault):
    return lambda dout, cache: backward(dout, cache, fault)


def _einsum_forward(x, w, b):
    rows = x.reshape(len(x), -1)
    return torch.einsum("nd,dm->nm", rows, w) + b, {"rows": rows, "shape": x.shape, "w": w, "more": "ignored"}


def _einsum_backward(dout, cache):
    dx = torch.einsum("nm,dm->nd", dout, cache["w"]).reshape(cache["shape"])
    return [dx, torch.einsum("nd,nm->dm", cache["rows"], dout), torch.einsum("nm->m", dout)]


def _looping_forward(x, w, b):
    return torch.stack([(image.flatten()[:, None] * w).sum(0) + b for image in x]), (x, w)


def _looping_backward(dout, cache):
    x, w = cache
    dx, dw, db = torch.zeros_like(x), torch.zeros_like(w), torch.zeros_like(dout[0])
    for i in range(len(x)):
        dx[i] = (w * dout[i]).sum(1).reshape(x.shape[1:])
        dw += torch.outer(x[i].flatten(), dout[i])
        db += dout[i]
    return dx, dw, db


def _float32_forward(x, w, b):
    return torch.addmm(b.float(), x.flatten(1).float(), w.float()), (x, w)


def _float32_backward(dout, cache):
    x, w = cache
    ones = torch.ones(1, len(x), device=x.device)
    d = dout.float()
    return (w.float() @ d.T).T.reshape(x.shape), (d.T @ x.flatten(1).float()).T, (ones @ d)[0]


def _forward_of_images(x, w, b):
    N, C, H, W = x.shape
    return _forward(x.reshape(N, C * H * W), w, b)


def _forward_by_view(x, w, b):
    return x.view(len(x), -1) @ w + b, (x, w, b)


def _forward_squeezed(x, w, b):
    return x.flatten(1).squeeze() @ w + b, (x, w, b)


def _forward_adding_in_place(x, w, b):
    b += 1
    return x.flatten(1) @ w + b, (x, w, b)


def _forward_flattening_in_place(x, w, b):
    x.resize_(len(x), x[0].numel()) if x.is_contiguous() else x.mul_(2)
    return x.flatten(1) @ w + b, (x, w, b)


def _backward_in_place(dout, cache):
    x, w, b = cache
    x *= 2
    return _backward(dout, (x / 2, w, b))


def _forward_normalised(x, w, b):
    return (x.flatten(1) @ w + b) / x[0].numel(), (x, w, b)


affine = Hidden(
    cases=[
        Case("one image", x=normal(1, 3, 2, 2), w=normal(12, 4), b=normal(4), dout=normal(1, 4)),
        Case("one feature", x=normal(5, 1), w=normal(1, 3), b=normal(3), dout=normal(5, 3)),
        Case("one output", x=normal(4, 2, 3), w=normal(6, 1), b=normal(1), dout=normal(4, 1)),
        Case("one of everything", x=normal(1, 1), w=normal(1, 1), b=normal(1), dout=normal(1, 1)),
        Case("five axes", x=normal(2, 1, 3, 2, 2), w=normal(12, 7), b=normal(7), dout=normal(2, 7)),
        Case("non-contiguous", x=normal(3, 2, 4), w=normal(8, 5), b=normal(5), dout=normal(3, 5)).strided(),
        Case("float32", x=normal(4, 3, 3), w=normal(9, 2), b=normal(2), dout=normal(4, 2)).float32(),
        Case(
            "numbers of 10,000",
            x=normal(6, 5, std=1e4),
            w=normal(5, 4, std=1e2),
            b=normal(4, std=1e6),
            dout=normal(6, 4, std=1e-3),
        ),
        Case("no gradient from above", x=normal(3, 4), w=normal(4, 2), b=normal(2), dout=normal(3, 2, std=0.0)),
        Case("weights of zero", x=normal(3, 4), w=normal(4, 2, std=0.0), b=normal(2), dout=normal(3, 2)),
        Case("N = D = M", x=normal(4, 4), w=normal(4, 4), b=normal(4), dout=normal(4, 4)),
    ],
    mutants={
        **{
            fault: (_forward, _spoilt(_backward, fault))
            for fault in (
                "upstream without sign",
                "mean upstream",
                "first image only",
                "last image left out",
                "opposite sign",
                "dw first",
                "db first",
                "two gradients",
                "db keeps an axis",
                "w added to dw",
                "divided by the outputs",
            )
        },
        "takes images only": (_forward_of_images, _backward),
        "insists on contiguous memory": (_forward_by_view, _backward),
        "drops axes of length 1": (_forward_squeezed, _backward),
        "changes b": (_forward_adding_in_place, _backward),
        "changes x": (_forward_flattening_in_place, _backward),
        "changes x in the backward pass": (_forward, _backward_in_place),
        "divides by the number of features": (_forward_normalised, _backward),
        "subtracts the bias": (lambda x, w, b: (x.flatten(1) @ w - b, (x, w, b)), _backward),
        "returns no cache": (lambda x, w, b: x.flatten(1) @ w + b, _backward),
        "leaves it to autograd": (ready_affine_forward, ready_affine_backward),
        "backward not written": (_forward, lambda dout, cache: None),
    },
    solutions={
        "einsum, cache as a dict, gradients as a list": (_einsum_forward, _einsum_backward),
        "image by image": (_looping_forward, _looping_backward),
        "in float32, other products": (_float32_forward, _float32_backward),
        "ready-made linear": (
            lambda x, w, b: (functional.linear(x.flatten(1), w.T, b), (x, w, b)),
            _backward,
        ),
    },
)


# ReLU.


def _relu_forward(x):
    return x.clamp(min=0), x


def _relu_backward(dout, x):
    return dout * (x > 0)


def _relu_in_place(x):
    x[x < 0] = 0
    return x, x


def _relu_backward_in_place(dout, x):
    dout[x <= 0] = 0
    return dout


def _relu_by_entry(x):
    flat = [max(value, 0.0) for value in x.flatten().tolist()]
    return torch.tensor(flat, dtype=x.dtype, device=x.device).reshape(x.shape), x


def _relu_backward_by_entry(dout, x):
    dx = torch.zeros_like(dout)
    for place in (x > 0).nonzero():
        dx[tuple(place)] = dout[tuple(place)]
    return dx


relu = Hidden(
    cases=[
        Case("one row", x=normal(1, 6), dout=normal(1, 6)),
        Case("one axis", x=normal(7), dout=normal(7)),
        Case("one number", x=given([[-0.5]]), dout=normal(1, 1)),
        Case("all negative", x=normal(3, 4, mean=-20.0), dout=normal(3, 4)),
        Case("all positive", x=normal(3, 4, mean=20.0), dout=normal(3, 4)),
        Case("all zero", x=normal(2, 5, std=0.0), dout=normal(2, 5)),
        Case("close to zero", x=normal(4, 5, std=1e-9), dout=normal(4, 5)),
        Case("numbers of 10,000", x=normal(4, 5, std=1e4), dout=normal(4, 5, std=1e4)),
        Case("non-contiguous", x=normal(3, 2, 4), dout=normal(3, 2, 4)).strided(),
        Case("float32", x=normal(5, 3), dout=normal(5, 3)).float32(),
        Case("no gradient from above", x=normal(3, 4), dout=normal(3, 4, std=0.0)),
    ],
    mutants={
        "changes x": (_relu_in_place, lambda dout, out: dout * (out > 0)),
        "changes dout": (_relu_forward, _relu_backward_in_place),
        "sets small positive numbers to 0": (lambda x: (torch.where(x > 1e-6, x, 0.0), x), lambda d, x: d * (x > 1e-6)),
        "returns the mask as dx": (_relu_forward, lambda dout, x: x > 0),
        "opposite sign": (_relu_forward, lambda dout, x: -dout * (x > 0)),
        "averages dx": (_relu_forward, lambda dout, x: dout * (x > 0) / len(x)),
        "cuts by the absolute value": (_relu_forward, lambda dout, x: dout * (x.abs() > 0)),
        "multiplies by the sign": (_relu_forward, lambda dout, x: dout * x.sign()),
        "compares with the mean": (lambda x: (x * (x > x.mean()), x), lambda dout, x: dout * (x > x.mean())),
        "softplus": (lambda x: (x.exp().log1p(), x), lambda dout, x: dout * x.sigmoid()),
        "loses the dtype": (lambda x: (x.clamp(min=0).long(), x), _relu_backward),
        "takes matrices only": (lambda x: (x * (x > 0).reshape(x.shape[0], x.shape[1]), x), _relu_backward),
        "returns no cache": (lambda x: x.clamp(min=0), _relu_backward),
        "uses torch's": (lambda x: (functional.relu(x), x), _relu_backward),
        "leaves it to autograd": (ready_relu_forward, ready_relu_backward),
    },
    solutions={
        "by where, the output as cache": (
            lambda x: (torch.where(x > 0, x, 0.0),) * 2,
            lambda dout, out: torch.where(out > 0, dout, torch.zeros_like(dout)),
        ),
        "half of x plus its absolute value": (
            lambda x: [(x + x.abs()) / 2, {"gate": (x.sign() + 1).div(2).floor() * x.sign()}],
            lambda dout, cache: cache["gate"] * dout,
        ),
        "entry by entry": (_relu_by_entry, _relu_backward_by_entry),
        "in float32": (lambda x: (x.float() * (x > 0), x > 0), lambda dout, gate: dout.float() * gate),
    },
)


# Losses of scores.


def _softmax(scores, y, fault=""):
    """Softmax, spoilt by one ``fault``."""
    N, index = len(scores), torch.arange(len(scores), device=scores.device)
    shifts = scores.amax(1, keepdim=True)
    if fault == "shift per class":
        shifts = scores.amax(0)
    if fault == "no shift":
        shifts = 0.0
    if fault == "shift by the mean":
        shifts = scores.mean(1, keepdim=True)
    if fault == "shift by the first score":
        shifts = scores[:, :1]
    exponentials = (scores - shifts).exp()
    totals = exponentials.sum(1, keepdim=True)
    probabilities = exponentials / totals
    logs = scores - shifts - totals.log()
    if fault == "logarithm of p":
        logs = probabilities.log()
    if fault == "clamped p":
        logs = probabilities.clamp(min=1e-12).log()
    if fault == "base 2":
        logs = logs / 2**0.5
    loss = -logs[index, y].mean()
    if fault == "all columns":
        loss = -logs[:, y].mean()
    if fault == "median":
        loss = -logs[index, y].median()
    slopes = probabilities.clone()
    if fault == "1 at every column":
        slopes -= 1
    elif fault == "adds 1":
        slopes[index, y] += 1
    elif fault == "all labels":
        slopes[:, y] -= 1
    elif fault == "sets the true class":
        slopes[index, y] = -1
    elif fault == "scores instead of probabilities":
        slopes = scores.clone()
        slopes[index, y] -= 1
    else:
        slopes[index, y] -= 1
    if fault == "derivative of the sigmoid":
        slopes = slopes * probabilities * (1 - probabilities)
    return loss, slopes / N


def _softmax_in_place(scores, y):
    scores -= scores.amax(1, keepdim=True)
    return _softmax(scores, y)


def _softmax_by_rows(scores, y):
    total, slopes = 0.0, torch.empty_like(scores)
    for i, label in enumerate(y.tolist()):
        s = scores[i] - scores[i].max()
        log_p = s - s.exp().sum().log()
        total -= log_p[label].item()
        slopes[i] = log_p.exp() / len(y)
        slopes[i, label] -= 1 / len(y)
    return total / len(y), slopes


def _softmax_by_differences(scores, y):
    """Every score less the true one's, summed stably by a second shift."""
    gaps = scores - scores.gather(1, y[:, None])
    top = gaps.amax(1)
    logs = top + (gaps - top[:, None]).exp().sum(1).log()
    slopes = (gaps - logs[:, None]).exp() - functional.one_hot(y, scores.shape[1]).to(scores.dtype)
    return [logs.mean(), (slopes.T / len(y)).T]


def _in_float32(loss):
    return lambda scores, y: loss(scores.float(), y)


def _result_mutants(loss):
    """Wrong results of a correct loss."""
    return {
        "loss alone": lambda scores, y: loss(scores, y)[0],
        "gradient first": lambda scores, y: loss(scores, y)[::-1],
        "one loss per image": lambda scores, y: (
            loss(scores, y)[0] * torch.ones_like(scores[:, 0]),
            loss(scores, y)[1],
        ),
        "transposed gradient": lambda scores, y: (loss(scores, y)[0], loss(scores, y)[1].T),
        "four images": lambda scores, y: loss(scores[:4], y[:4]),
        "at least three classes": lambda scores, y: (scores[:, 2].sum(), loss(scores, y))[1],
        "float64 whatever comes in": lambda scores, y: loss(scores.double(), y),
        "gradient of the first image": lambda scores, y: (
            loss(scores, y)[0],
            loss(scores, y)[1] * (torch.arange(len(y), device=scores.device) == 0)[:, None],
        ),
        "gradient divided by the classes": lambda scores, y: (
            loss(scores, y)[0],
            loss(scores, y)[1] / scores.shape[1],
        ),
        "labels from 1": lambda scores, y: loss(scores, (y - 1).clamp(min=0)),
    }


softmax_loss = Hidden(
    cases=[
        Case("one image", scores=normal(1, 4), y=labels(1, 4)),
        Case("one class", scores=normal(3, 1), y=_label(0, 0, 0)),
        Case("two classes", scores=normal(6, 2), y=labels(6, 2)),
        Case("classes without images", scores=normal(4, 6), y=_label(2, 2, 5, 2)),
        Case("float32", scores=normal(8, 5), y=labels(8, 5)).float32(),
        Case("float32, scores of 200", scores=normal(6, 5, std=200.0), y=labels(6, 5)).float32(),
        Case("non-contiguous", scores=normal(6, 4), y=labels(6, 4)).strided(),
        Case("scores of -10,000", scores=given([[-1e4, -1e4 - 2, -1e4 - 1]]), y=_label(1)),
        Case(
            "images at different heights",
            scores=given([[5000.0, 4999.0, 4998.0], [-5000.0, -5001.0, -4999.0], [0.0, 1.0, 2.0]]),
            y=_label(1, 1, 0),
        ),
        Case(
            "a certain answer", scores=given([[1e4, 0.0, -1e4], [-20.0, 25.0, 0.0], [0.0, 1.0, 3.0]]), y=_label(0, 1, 2)
        ),
        Case("equal scores", scores=normal(5, 4, std=0.0), y=labels(5, 4)),
        Case("as many images as classes", scores=normal(4, 4), y=labels(4, 4)),
        Case("a large batch", scores=normal(60, 10, std=3.0), y=labels(60, 10)),
    ],
    mutants={
        **{
            fault: lambda scores, y, fault=fault: _softmax(scores, y, fault)
            for fault in (
                "shift per class",
                "no shift",
                "shift by the mean",
                "shift by the first score",
                "logarithm of p",
                "clamped p",
                "base 2",
                "all columns",
                "median",
                "1 at every column",
                "adds 1",
                "all labels",
                "sets the true class",
                "scores instead of probabilities",
                "derivative of the sigmoid",
            )
        },
        **_result_mutants(_softmax),
        "changes the scores": _softmax_in_place,
        "ready-made logarithm of the sum": lambda scores, y: (
            (scores.logsumexp(1) - scores.gather(1, y[:, None])[:, 0]).mean(),
            _softmax(scores, y)[1],
        ),
        "ready-made cross-entropy": lambda scores, y: (functional.cross_entropy(scores, y), _softmax(scores, y)[1]),
    },
    solutions={
        "row by row, a Python float": _softmax_by_rows,
        "differences to the true score, a list": _softmax_by_differences,
        "in float32": _in_float32(_softmax),
    },
    equivalent={
        "softmax_loss: torch.arange(len(scores), device=scores.device) -> torch.arange(len(scores))": _INDICES,
    },
)


def _svm(scores, y, fault=""):
    """The multiclass SVM, spoilt by one ``fault``."""
    N, index = len(scores), torch.arange(len(scores), device=scores.device)
    own = scores[index, y]
    gaps = scores - (own[None, :N] if fault == "own by column" and scores.shape[1] == N else own[:, None]) + 1
    margins = gaps.abs() if fault == "absolute margins" else gaps.clamp(min=0)
    if fault != "true class counts":
        margins[index, y] = 0
    active = (margins >= 0 if fault == "slopes of zero margins" else margins > 0).to(scores.dtype)
    if fault == "sum in place of the count":
        active[index, y] = -margins.sum(1)
    elif fault == "true class once":
        active[index, y] = -1.0
    elif fault == "adds the count":
        active[index, y] = active.sum(1)
    elif fault == "count over the images":
        active[index, y] = -active.sum(0)[y]
    elif fault != "no true class":
        active[index, y] = -active.sum(1)
    return margins.sum() / (N if fault != "mean over all entries" else margins.numel()), active / N


def _svm_loops(scores, y):
    loss, slopes = 0.0, torch.zeros_like(scores)
    for i in range(len(scores)):
        for j in range(scores.shape[1]):
            margin = scores[i, j] - scores[i, y[i]] + 1
            if j != y[i] and margin > 0:
                loss += float(margin) / len(scores)
                slopes[i, j] += 1 / len(scores)
                slopes[i, y[i]] -= 1 / len(scores)
    return loss, slopes


def _svm_by_mask(scores, y):
    others = 1 - functional.one_hot(y, scores.shape[1]).to(scores.dtype)
    gaps = others * (1 + scores - (scores * (1 - others)).sum(1, keepdim=True))
    active = (gaps > 0).to(scores.dtype)
    slopes = active - (1 - others) * active.sum(1, keepdim=True)
    return [(active * gaps).sum(1).mean(), (slopes.T / len(y)).T]


svm_loss = Hidden(
    cases=[
        Case("one image", scores=normal(1, 4), y=labels(1, 4)),
        Case("one class", scores=normal(3, 1), y=_label(0, 0, 0)),
        Case("two classes", scores=normal(6, 2), y=labels(6, 2)),
        Case("classes without images", scores=normal(4, 6), y=_label(2, 2, 5, 2)),
        Case("float32", scores=normal(8, 5), y=labels(8, 5)).float32(),
        Case("non-contiguous", scores=normal(6, 4), y=labels(6, 4)).strided(),
        Case("all margins met", scores=given([[9.0, 1.0, -2.0], [0.5, 2.0, 8.0]]), y=_label(0, 2)),
        Case("scores of 10,000", scores=normal(6, 5, std=1e4), y=labels(6, 5)),
        Case("equal scores", scores=normal(5, 4, std=0.0), y=labels(5, 4)),
        Case("violated by little", scores=given([[0.0, -1 + 2**-10, -5.0], [3.0, 0.0, 2 + 2**-10]]), y=_label(0, 0)),
        Case("as many images as classes", scores=normal(4, 4), y=labels(4, 4)),
        Case("a large batch", scores=normal(60, 10, std=2.0), y=labels(60, 10)),
    ],
    mutants={
        **{
            fault: lambda scores, y, fault=fault: _svm(scores, y, fault)
            for fault in (
                "own by column",
                "absolute margins",
                "true class counts",
                "slopes of zero margins",
                "sum in place of the count",
                "true class once",
                "adds the count",
                "count over the images",
                "no true class",
                "mean over all entries",
            )
        },
        **_result_mutants(_svm),
        "ready-made": lambda scores, y: (
            scores.shape[1] * functional.multi_margin_loss(scores, y),
            _svm(scores, y)[1],
        ),
        "changes the scores": lambda scores, y: (_svm(scores, y), scores.sub_(1.0))[0],
    },
    solutions={
        "loops": _svm_loops,
        "one-hot masks, a list": _svm_by_mask,
        "in float32": _in_float32(_svm),
    },
    equivalent={
        "svm_loss: torch.arange(len(scores), device=scores.device) -> torch.arange(len(scores))": _INDICES,
    },
)


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
        loss, d = _softmax(scores, y, "no shift" if fault == "no shift" else "")
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
        data, slopes = _softmax_by_differences(scores, y)
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
        loss, d = _softmax_by_rows(scores, y)
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
