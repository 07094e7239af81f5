"""Hidden cases, mutants and other solutions for solutions/a1/linear_losses.py."""

from __future__ import annotations

from itertools import product

import torch

from dlcvkit.checking import Case, Hidden, given, labels, normal

_IDENTITY = given([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


_TWO_AXES = "W has two axes, so axis 1 is the last one"
_KINK = "at a margin of exactly 0 the loss is the same, and any slope between those of the two sides is valid"
_INDICES = "indices on the CPU may index a tensor on any device"


def _label(*values):
    return given(list(values), dtype=torch.int64)


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


def _svm_loops(W, X, y, reg, delta=1.0, squared=False, fault=""):
    """The loss with loops, spoilt by one ``fault``."""
    N, K = len(X), W.shape[1]
    loss, dW = 0.0, torch.zeros_like(W)
    for i in range(1 if fault == "starts at image 1" else 0, N - 1 if fault == "leaves the last image out" else N):
        scores = X[i] @ W
        for j in range(1 if fault == "starts at class 1" else 0, 3 if fault == "three classes" else K):
            if j == y[i] and fault != "true class counts":
                if fault == "breaks at the true class":
                    break
                continue
            margin = scores[j] - scores[y[i]] + delta
            if margin > 0:
                slope = 2 * margin if squared else 1.0
                loss += margin**2 if squared else margin
                dW[:, j] += slope * X[i]
                if fault != "assigns the true column":
                    dW[:, y[i]] -= slope * X[i]
                else:
                    dW[:, y[i]] = -slope * X[i]
        if fault == "regulariser inside the loop":
            loss += reg * (W**2).sum()
    if fault != "regulariser inside the loop":
        loss = loss / N + reg * (W**2).sum()
    return loss, dW / N + 2 * reg * W


def _svm(W, X, y, reg, delta=1.0, squared=False, fault=""):
    """The loss without loops, spoilt by one ``fault``."""
    N = len(X)
    scores = X @ W
    own = scores[torch.arange(N, device=X.device), y][:, None]
    margins = (scores - own + delta).clamp(min=0)
    if fault == "absolute margins":
        margins = (scores - own + delta).abs()
    if fault == "own by column":
        margins = (scores - scores[:, y[:1]] + delta).clamp(min=0)
    margins = margins.scatter(1, y[:, None], 0.0) if fault != "true class counts" else margins
    loss = ((margins**2 if squared else margins).sum()) / N + reg * (W**2).sum()
    slopes = 2 * margins if squared else (margins > 0).to(W.dtype)
    if fault == "slopes of zero margins":
        slopes = torch.ones_like(margins).scatter(1, y[:, None], 0.0)
    if fault == "plain slopes":
        slopes = (margins > 0).to(W.dtype)
    if fault == "no factor two" and squared:
        slopes = margins
    true_slopes = -slopes.sum(1, keepdim=True)
    if fault == "true class once":
        true_slopes = -torch.ones_like(true_slopes)
    if fault == "sum over images":
        true_slopes = -slopes.sum() / N * torch.ones_like(own)
    if fault != "no true class":
        slopes = slopes.scatter(1, y[:, None], true_slopes)
    dW = X.T @ slopes
    if fault == "gradient not averaged":
        return loss, dW + 2 * reg * W
    return loss, dW / N + 2 * reg * W


def _svm_by_mask(W, X, y, reg, delta=1.0, squared=False):
    own = torch.arange(W.shape[1], device=W.device) == y[:, None]
    scores = X @ W
    true_scores = torch.where(own, scores, 0.0).sum(1, keepdim=True)
    violation = torch.where(own, 0.0, scores - true_scores + delta)
    violation = torch.maximum(violation, torch.zeros_like(violation))
    power = 2 if squared else 1
    loss = (violation**power).sum(1).mean() + reg * torch.einsum("dk,dk->", W, W)
    slopes = power * violation ** (power - 1) * (violation > 0)
    slopes = slopes - own * slopes.sum(1, keepdim=True)
    return loss.item(), (slopes.T @ X / len(X) + 2 * reg * W.T).T


def _svm_kink_from_above(W, X, y, reg, delta=1.0, squared=False):
    scores = X @ W
    own = scores.gather(1, y[:, None])
    gaps = scores - own + delta
    active = (gaps >= 0).to(W.dtype).scatter(1, y[:, None], 0.0)
    weights = 2 * gaps * active if squared else active
    loss = (weights * gaps * (0.5 if squared else 1.0)).sum() / len(X) + reg * W.square().sum()
    weights = weights.scatter_add(1, y[:, None], -weights.sum(1, keepdim=True))
    return loss, X.T @ weights / len(X) + 2 * reg * W


def _in_float32(function):
    def run(W, X, y, reg, *options):
        loss, dW = function(W.float(), X.float(), y, reg, *options)
        return loss, dW

    return run


def _in_float64(function):
    def run(W, X, y, reg, *options):
        return function(W.double(), X.double(), y, reg, *options)

    return run


def _spoilt(function, fault):
    return lambda *inputs: function(*inputs, fault=fault)


def _changed(function, loss=lambda loss, W, X, y, reg: loss, dW=lambda dW, W, X, y, reg: dW):
    """A correct function whose results are changed afterwards."""

    def run(W, X, y, reg, *options):
        value, gradient = function(W, X, y, reg, *options)
        return loss(value, W, X, y, reg), dW(gradient, W, X, y, reg)

    return run


def _penalty_mutants(function):
    """Wrong regularisers, wrong averages, wrong results; ``function`` is correct."""
    return {
        "no regulariser in the loss": _changed(function, loss=lambda v, W, X, y, reg: v - reg * (W**2).sum()),
        "no regulariser in the gradient": _changed(function, dW=lambda g, W, X, y, reg: g - 2 * reg * W),
        "half the regulariser in the loss": _changed(
            function, loss=lambda v, W, X, y, reg: v - 0.5 * reg * (W**2).sum()
        ),
        "half the regulariser in the gradient": _changed(function, dW=lambda g, W, X, y, reg: g - reg * W),
        "the other stage's factor": _changed(
            function, lambda v, W, X, y, reg: v - 0.5 * reg * (W**2).sum(), lambda g, W, X, y, reg: g - reg * W
        ),
        "norm without square": _changed(function, loss=lambda v, W, X, y, reg: v - reg * (W**2).sum() + reg * W.norm()),
        "absolute values": _changed(
            function,
            lambda v, W, X, y, reg: v - reg * (W**2).sum() + reg * W.abs().sum(),
            lambda g, W, X, y, reg: g - 2 * reg * W + reg * W.sign(),
        ),
        "regulariser divided by N": _changed(
            function,
            lambda v, W, X, y, reg: v - (1 - 1 / len(X)) * reg * (W**2).sum(),
            lambda g, W, X, y, reg: g - (1 - 1 / len(X)) * 2 * reg * W,
        ),
        "first row of W not regularised": _changed(function, loss=lambda v, W, X, y, reg: v - reg * (W[0] ** 2).sum()),
        "loss not averaged": _changed(
            function, loss=lambda v, W, X, y, reg: len(X) * v - (len(X) - 1) * reg * (W**2).sum()
        ),
        "gradient not averaged": _changed(function, dW=lambda g, W, X, y, reg: len(X) * g - (len(X) - 1) * 2 * reg * W),
        "gradient averaged over the classes": _changed(
            function, dW=lambda g, W, X, y, reg: (g - 2 * reg * W) * len(X) / W.shape[1] + 2 * reg * W
        ),
        "gradient of the opposite sign": _changed(function, dW=lambda g, W, X, y, reg: -g),
        "transposed gradient": _changed(function, dW=lambda g, W, X, y, reg: g.T),
        "one loss per image": _changed(function, loss=lambda v, W, X, y, reg: v * torch.ones_like(X[:, 0])),
        "loss alone": lambda *inputs: function(*inputs)[0],
        "gradient first": lambda *inputs: function(*inputs)[::-1],
        "W updated in place": lambda W, *rest: (function(W, *rest), W.sub_(0.1))[0],
        "images centred in place": lambda W, X, *rest: (function(W, X, *rest), X.sub_(1.0))[0],
        "float64 whatever comes in": _in_float64(function),
        "reg fixed": lambda W, X, y, reg, *options: function(W, X, y, 0.3, *options),
        "batches of five": lambda W, X, y, reg, *options: function(
            W, X.reshape(5, -1) if len(X) == 5 else X[:4], y if len(X) == 5 else y[:4], reg, *options
        ),
    }


# A gradient by difference quotients is right, but it calls the loss twice per weight: here that takes too long.
_MANY_WEIGHTS = Case("many weights", W=normal(8000, 20, std=0.01), X=normal(2, 8000), y=_label(3, 17), reg=0.1)

_SVM_CASES = [
    _MANY_WEIGHTS,
    Case("one image", W=normal(4, 3), X=normal(1, 4), y=labels(1, 3), reg=0.2),
    Case("two classes", W=normal(5, 2), X=normal(7, 5), y=labels(7, 2), reg=0.01, delta=0.25),
    Case("one feature, more classes than images", W=normal(1, 9), X=normal(3, 1), y=_label(8, 0, 4), reg=1.5),
    Case(
        "classes without images", W=normal(3, 6), X=normal(4, 3), y=_label(2, 2, 0, 2), reg=0.1, delta=1.0, squared=True
    ),
    Case("float32", W=normal(6, 5), X=normal(8, 6), y=labels(8, 5), reg=0.3).float32(),
    Case(
        "float32, squared", W=normal(4, 3), X=normal(6, 4), y=labels(6, 3), reg=0.0, delta=3.0, squared=True
    ).float32(),
    Case("non-contiguous", W=normal(5, 4), X=normal(6, 5), y=labels(6, 4), reg=0.7, delta=1.5).strided(),
    Case("all margins met", W=_IDENTITY, X=given([[9.0, 1.0, -2.0], [0.5, 2.0, 8.0]]), y=_label(0, 2), reg=0.0),
    Case(
        "all margins met, squared",
        W=_IDENTITY,
        X=given([[9.0, 1.0, -2.0]]),
        y=_label(0),
        reg=0.4,
        delta=1.0,
        squared=True,
    ),
    Case("scores of 10,000", W=normal(4, 5, std=1e3), X=normal(6, 4, std=10), y=labels(6, 5), reg=1e-6),
    Case("as many images as features and classes", W=normal(4, 4), X=normal(4, 4), y=labels(4, 4), reg=0.2),
    Case(
        "a large batch", W=normal(7, 10, std=0.3), X=normal(60, 7), y=labels(60, 10), reg=0.05, delta=1.0, squared=True
    ),
]

_SVM_SOLUTIONS = {
    "mask": _svm_by_mask,
    "weights at the kink from above": _svm_kink_from_above,
    "scatter": _svm,
    "float32": _in_float32(_svm),
}


_SVM_MUTANTS = {
    fault: _spoilt(_svm, fault)
    for fault in (
        "absolute margins",
        "own by column",
        "true class counts",
        "slopes of zero margins",
        "plain slopes",
        "no factor two",
        "true class once",
        "sum over images",
        "no true class",
    )
}

svm_naive = Hidden(
    cases=_SVM_CASES,
    mutants={
        **{
            fault: _spoilt(_svm_loops, fault)
            for fault in (
                "starts at image 1",
                "leaves the last image out",
                "starts at class 1",
                "three classes",
                "true class counts",
                "breaks at the true class",
                "assigns the true column",
                "regulariser inside the loop",
            )
        },
        **{f"{fault}, vectorised": mutant for fault, mutant in _SVM_MUTANTS.items()},
        **_penalty_mutants(_svm_loops),
    },
    solutions={"loops": _svm_loops, **_SVM_SOLUTIONS},
    equivalent={
        "svm_loss_naive: W.shape[1] -> W.shape[-1]": _TWO_AXES,
        "svm_loss_naive: margin > 0 -> margin >= 0": _KINK,
    },
)

svm_vectorized = Hidden(
    cases=_SVM_CASES,
    mutants={**_SVM_MUTANTS, **_penalty_mutants(_svm), "loops": _svm_loops},
    solutions=_SVM_SOLUTIONS,
    equivalent={
        "svm_loss_vectorized: torch.arange(len(X), device=X.device) -> torch.arange(len(X))": _INDICES,
    },
)


def _softmax_loops(W, X, y, reg, fault=""):
    """The loss with loops, spoilt by one ``fault``."""
    N, K = len(X), W.shape[1]
    loss, dW = 0.0, torch.zeros_like(W)
    for i in range(1 if fault == "starts at image 1" else 0, N - 1 if fault == "leaves the last image out" else N):
        scores = X[i] @ W
        shift = (
            torch.zeros_like(scores[0]) if fault == "no shift" else scores[0 if fault == "first score" else ...].max()
        )
        if fault == "shift by the mean":
            shift = scores.mean()
        total = 0.0
        for j in range(1 if fault == "sum without class 0" else 0, K):
            total = total + (scores[j] - shift).exp()
        log_total = torch.log2(total) if fault == "base 2" else torch.log(total)
        loss += log_total - (scores[y[i]] - (0 if fault == "shift in the sum only" else shift))
        for j in range(3 if fault == "three classes" else K):
            p = (scores[j] - shift).exp() / (1 if fault == "not normalised" else total)
            dW[:, j] += (p - (0 if fault == "no true class" else int(j == y[i]))) * X[i]
        if fault == "regulariser inside the loop":
            loss += reg * (W**2).sum()
    if fault != "regulariser inside the loop":
        loss = loss / N + reg * (W**2).sum()
    return loss, dW / N + 2 * reg * W


def _softmax(W, X, y, reg, fault=""):
    """The loss without loops, spoilt by one ``fault``."""
    N, index = len(X), torch.arange(len(X), device=X.device)
    scores = X @ W
    shifts = scores.amax(1, keepdim=True)
    if fault in ("one shift for all", "over everything"):
        shifts = scores.max()
    if fault in ("shift per class", "over the images"):
        shifts = scores.amax(0)
    if fault == "no shift":
        shifts = 0.0
    exponentials = (scores - shifts).exp()
    totals = exponentials.sum(0 if fault == "over the images" else 1, keepdim=True)
    if fault == "over everything":
        totals = exponentials.sum()
    probabilities = exponentials / totals
    logs = scores - shifts - totals.log()
    if fault == "logarithm of p":
        logs = probabilities.log()
    if fault == "small number inside":
        logs = (probabilities + 1e-8).log()
    if fault == "clamped p":
        logs = probabilities.clamp(min=1e-12).log()
    own = logs[index, y]
    loss = -own.mean() + reg * (W**2).sum()
    if fault == "logarithm of the mean":
        loss = -probabilities[index, y].mean().log() + reg * (W**2).sum()
    if fault == "all classes":
        loss = -logs.sum() / N + reg * (W**2).sum()
    if fault == "all columns":
        loss = -logs[:, y].mean() + reg * (W**2).sum()
    if fault == "largest score":
        loss = -logs.amax(1).mean() + reg * (W**2).sum()
    if fault == "opposite sign":
        loss = own.mean() + reg * (W**2).sum()
    slopes = probabilities.clone()
    if fault == "1 at every column":
        slopes -= 1
    elif fault == "adds 1":
        slopes[index, y] += 1
    elif fault == "all labels":
        slopes[:, y] -= 1
    elif fault == "true class only":
        slopes = torch.zeros_like(slopes)
        slopes[index, y] = probabilities[index, y] - 1
    elif fault != "no true class":
        slopes[index, y] -= 1
    return loss, X.T @ slopes / N + 2 * reg * W


def _softmax_by_differences(W, X, y, reg):
    """Without a shift of its own: every score less the true one's, summed stably by a second shift."""
    scores = X @ W
    gaps = scores - scores.gather(1, y[:, None])
    top = gaps.amax(1)
    logs = top + (gaps - top[:, None]).exp().sum(1).log()
    slopes = (gaps - logs[:, None]).exp() - torch.nn.functional.one_hot(y, W.shape[1]).to(W.dtype)
    return float(logs.mean() + reg * (W * W).sum()), (slopes.T @ X / len(X) + 2 * reg * W.T).T


def _softmax_by_rows(W, X, y, reg):
    total, dW = 0.0, torch.zeros_like(W)
    for x, label in zip(X, y.tolist(), strict=True):
        scores = x @ W
        scores = scores - scores.max()
        log_p = scores - scores.exp().sum().log()
        total -= log_p[label].item()
        slope = log_p.exp()
        slope[label] -= 1
        dW += torch.outer(x, slope)
    return total / len(X) + reg * W.square().sum().item(), dW / len(X) + 2 * reg * W


_SOFTMAX_CASES = [
    _MANY_WEIGHTS,
    Case("one image", W=normal(4, 3), X=normal(1, 4), y=labels(1, 3), reg=0.2),
    Case("two classes", W=normal(5, 2), X=normal(7, 5), y=labels(7, 2), reg=0.01),
    Case("one feature, more classes than images", W=normal(1, 9), X=normal(3, 1), y=_label(8, 0, 4), reg=1.5),
    Case("classes without images", W=normal(3, 6), X=normal(4, 3), y=_label(2, 2, 0, 2), reg=0.1),
    Case("float32", W=normal(6, 5), X=normal(8, 6), y=labels(8, 5), reg=0.3).float32(),
    Case("float32, scores of 200", W=normal(4, 5, std=40), X=normal(6, 4, std=3), y=labels(6, 5), reg=0.0).float32(),
    Case("non-contiguous", W=normal(5, 4), X=normal(6, 5), y=labels(6, 4), reg=0.7).strided(),
    Case("scores of -10,000", W=_IDENTITY, X=given([[-1e4, -1e4 - 2, -1e4 - 1]]), y=_label(1), reg=0.1),
    Case(
        "images at different heights",
        W=_IDENTITY,
        X=given([[5000.0, 4999.0, 4998.0], [-5000.0, -5001.0, -4999.0], [0.0, 1.0, 2.0]]),
        y=_label(1, 1, 0),
        reg=0.2,
    ),
    Case("a certain answer", W=_IDENTITY, X=given([[1e4, 0.0, -1e4], [-20.0, 25.0, 0.0]]), y=_label(0, 1), reg=0.01),
    Case("equal scores", W=normal(3, 4, std=0.0), X=normal(5, 3), y=labels(5, 4), reg=0.5),
    Case("as many images as features and classes", W=normal(4, 4), X=normal(4, 4), y=labels(4, 4), reg=0.2),
    Case("a large batch", W=normal(7, 10, std=0.3), X=normal(60, 7), y=labels(60, 10), reg=0.05),
]

_SOFTMAX_MUTANTS = {
    fault: _spoilt(_softmax, fault)
    for fault in (
        "one shift for all",
        "shift per class",
        "no shift",
        "over the images",
        "over everything",
        "logarithm of p",
        "small number inside",
        "clamped p",
        "logarithm of the mean",
        "all classes",
        "all columns",
        "largest score",
        "opposite sign",
        "1 at every column",
        "adds 1",
        "all labels",
        "true class only",
        "no true class",
    )
}

_SOFTMAX_SOLUTIONS = {
    "differences to the true score": _softmax_by_differences,
    "as asked": _softmax,
    "float32": _in_float32(_softmax),
}

softmax_naive = Hidden(
    cases=_SOFTMAX_CASES,
    mutants={
        **{
            f"{fault}, loops": _spoilt(_softmax_loops, fault)
            for fault in (
                "starts at image 1",
                "leaves the last image out",
                "no shift",
                "first score",
                "shift by the mean",
                "sum without class 0",
                "base 2",
                "shift in the sum only",
                "three classes",
                "not normalised",
                "no true class",
                "regulariser inside the loop",
            )
        },
        **_SOFTMAX_MUTANTS,
        **_penalty_mutants(_softmax_loops),
    },
    solutions={"loops": _softmax_loops, "row by row": _softmax_by_rows, **_SOFTMAX_SOLUTIONS},
    equivalent={
        "softmax_loss_naive: W.shape[1] -> W.shape[-1]": _TWO_AXES,
    },
)

softmax_vectorized = Hidden(
    cases=_SOFTMAX_CASES,
    mutants={
        **_SOFTMAX_MUTANTS,
        **_penalty_mutants(_softmax),
        "loops": _softmax_loops,
        "ready-made logarithm of the sum": lambda W, X, y, reg: (
            ((X @ W).logsumexp(1) - (X @ W).gather(1, y[:, None])[:, 0]).mean() + reg * (W**2).sum(),
            _softmax(W, X, y, reg)[1],
        ),
    },
    solutions=_SOFTMAX_SOLUTIONS,
    equivalent={
        "softmax_loss_vectorized: torch.arange(len(X), device=X.device) -> torch.arange(len(X))": _INDICES,
    },
)
