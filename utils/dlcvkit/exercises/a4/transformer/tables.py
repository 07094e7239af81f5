"""The causal mask, positions, and layer norm over the last axis."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Function, Mistake, Module, normal
from dlcvkit.exercises.a4.transformer.pieces import gradients_or_stop, reference_gradients

causal_mask = Function(
    functions=("causal_mask",),
    reference=lambda T: torch.tril(torch.ones(T, T)).bool(),
    cases=[Case("4 positions", T=4), Case("1 position", T=1)],
    points={"mask": 1},
    mistakes=[
        Mistake(
            "lets positions attend to the future",
            lambda T: torch.triu(torch.ones(T, T)).bool(),
            hint="rows are queries: the first row may see the first position and no other",
        ),
        Mistake(
            "marks what is blocked",
            lambda T: ~torch.tril(torch.ones(T, T)).bool(),
            hint="True stands for: may attend",
        ),
        Mistake(
            "blocks a position from itself",
            lambda T: torch.tril(torch.ones(T, T), -1).bool(),
            hint="what may the first position attend to, if not to itself?",
        ),
        Mistake(
            "lets each position see the next one",
            lambda T: torch.tril(torch.ones(T, T), 1).bool(),
            hint="the next token is what is to be predicted",
        ),
        Mistake("blocks nothing", lambda T: torch.ones(T, T).bool(), hint="the future is to be hidden"),
        Mistake(
            "lets each position see itself alone",
            lambda T: torch.eye(T).bool(),
            hint="what came before may be seen as well",
        ),
        Mistake(
            "returns numbers",
            lambda T: torch.tril(torch.ones(T, T)),
            hint="the mask is of dtype bool",
        ),
    ],
)


def encode_positions(x, fault=""):
    """The table of sines and cosines, spoilt by one ``fault``."""
    T, D = x.shape[-2:]
    base = {"base 1000": 1e3, "base 100000": 1e5}.get(fault, 1e4)
    table = torch.zeros(T, D, dtype=torch.float64, device=x.device)
    for t in range(T):
        for d in range(D):
            pair = {"an exponent of its own": d, "half the exponent": d // 2}.get(fault, d - d % 2)
            width = {"D - 1": max(D - 1, 1), "half of D": D / 2}.get(fault, D)
            angle = (t + (fault == "from 1")) / base ** (pair / width)
            if fault == "frequencies rise":
                angle = t * base ** (pair / width) / base
            is_sine = d % 2 == 0
            if fault == "sines first":
                half = (D + 1) // 2
                is_sine, angle = d < half, t / base ** (2 * (d if d < half else d - half) / D)
            if fault == "cosines first":
                is_sine = not is_sine
            table[t, d] = math.sin(angle) if is_sine or fault == "sines only" else math.cos(angle)
    return table.to(x.dtype)


def _spoilt_positions(fault):
    return lambda x: encode_positions(x, fault)


positional_encoding = Function(
    functions=("positional_encoding",),
    reference=encode_positions,
    cases=[Case("5 positions, 6 features", x=normal(2, 5, 6)), Case("4 positions, 8 features", x=normal(1, 4, 8))],
    points={"table": 3},
    mistakes=[
        Mistake(
            "has cosines where sines belong",
            _spoilt_positions("cosines first"),
            hint="position 0 begins with sin(0) = 0",
        ),
        Mistake(
            "puts all sines in front of all cosines",
            _spoilt_positions("sines first"),
            hint="the two of a frequency stand side by side: even columns, odd columns",
        ),
        Mistake(
            "gives the cosine a frequency of its own",
            _spoilt_positions("an exponent of its own"),
            hint="columns 2j and 2j + 1 share the frequency",
        ),
        Mistake(
            "uses j / D for the exponent",
            _spoilt_positions("half the exponent"),
            hint="the exponent runs from 0 nearly to 1 over the frequencies",
        ),
        Mistake("counts positions from 1", _spoilt_positions("from 1"), hint="the first position is 0"),
        Mistake("uses sines alone", _spoilt_positions("sines only"), hint="which function do the odd columns have?"),
        Mistake(
            "starts with the lowest frequency",
            _spoilt_positions("frequencies rise"),
            hint="the first two columns turn fastest, one radian per position",
        ),
        Mistake("uses another base", _spoilt_positions("base 1000"), hint="look at the number under the power"),
        Mistake("adds the table to x", lambda x: x + encode_positions(x), hint="the table alone is asked for"),
    ],
)


def _use_positions(net, x):
    out = net(x)
    try:
        net(torch.cat([x, x, x, x, x, x], dim=1))
        too_long = "accepted"
    except Exception as error:
        too_long = type(error).__name__
    return out, too_long, gradients_or_stop(net, {"x": x}, (out, too_long))


def add_positions(x, weights, fault=""):
    """What a table of learned positions gives, spoilt by one ``fault``."""
    rows = weights["table"][: x.shape[1]]
    if fault == "last rows":
        rows = weights["table"][-x.shape[1] :]
    if fault == "first row":
        rows = weights["table"][:1]
    if fault == "multiplies":
        return x * rows
    return rows.expand_as(x) * 1 if fault == "positions alone" else x + rows


def _positions(fault="", too_long="ValueError"):
    def reference(init, params, x):
        gradients = reference_gradients(lambda x, weights: add_positions(x, weights, fault), {"x": x}, params)
        return add_positions(x, params, fault), too_long, gradients

    return reference


def positions_case(name, N, T, D, length):
    """Describe a case of learned positions; ``length`` is smaller than 6 T."""
    init = {"max_length": length, "D": D}
    return Case(name, init=init, params={"table": normal(length, D)}, x=normal(N, T, D))


learned_positions = Module(
    functions=("LearnedPositions",),
    reference=_positions(),
    call=_use_positions,
    cases=[positions_case("3 of 5 positions", 2, 3, 4, 5), positions_case("all positions", 2, 4, 3, 4)],
    points={"out": 1, "too long": 0.5, "gradients": 0.5},
    mistakes=[
        Mistake("returns the positions alone", _positions("positions alone"), hint="they are added to x"),
        Mistake("takes the last rows of the table", _positions("last rows"), hint="position 0 has row 0"),
        Mistake("adds the first row everywhere", _positions("first row"), hint="every position has a row of its own"),
        Mistake("multiplies", _positions("multiplies"), hint="they are added to x"),
        Mistake(
            "accepts sequences that are longer than the table",
            _positions(too_long="accepted"),
            hint="what does a slice give if it asks for more rows than there are?",
        ),
        Mistake(
            "leaves it to torch to notice that the table is too short",
            _positions(too_long="RuntimeError"),
            hint="compare the lengths before the addition, and raise ValueError",
        ),
    ],
)


def normalise(x, gamma, beta, fault=""):
    """Layer norm over the last axis, spoilt by one ``fault``."""
    axes = {"over the steps": -2, "over steps and features": (-2, -1), "over the batch": 0}.get(fault, -1)
    centred = x - (0.0 if fault == "not centred" else x.mean(dim=axes, keepdim=True))
    squares = (x - x.mean(dim=axes, keepdim=True)).square()
    variance = squares.mean(dim=axes, keepdim=True)
    if fault == "unbiased":
        count = squares.numel() // variance.numel()
        variance = variance * count / (count - 1)
    eps = 0.0 if fault == "no eps" else 1e-3 if fault == "large eps" else 1e-5
    spread = variance.sqrt() + eps if fault == "eps outside" else (variance + eps).sqrt()
    if fault == "by the variance":
        spread = variance + eps
    out = centred / spread
    out = out if fault == "no gamma" else out * gamma
    return out if fault == "no beta" else out + beta


def norm_by_hand(x, gamma, beta, dout, fault=""):
    """Output and gradients by the formulas, spoilt by one ``fault`` of the way back."""
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    spread = (variance + 1e-5).sqrt()
    whitened = (x - mean) / spread
    g = dout if fault == "gamma forgotten" else dout * gamma
    through_mean, along = g.mean(dim=-1, keepdim=True), (g * whitened).mean(dim=-1, keepdim=True)
    inner = g - through_mean - whitened * along
    inner = {
        "statistics constant": g,
        "variance constant": g - through_mean,
        "mean constant": g - whitened * along,
        "means over the batch": g - g.mean(dim=0, keepdim=True) - whitened * (g * whitened).mean(dim=0, keepdim=True),
        "sums": g - g.sum(dim=-1, keepdim=True) - whitened * (g * whitened).sum(dim=-1, keepdim=True),
    }.get(fault, inner)
    dx = inner if fault == "spread forgotten" else inner / spread
    rows = dout.reshape(-1, len(gamma))
    dgamma = (rows * (x if fault == "gamma of x" else whitened).reshape(rows.shape)).sum(dim=0)
    dbeta = rows.sum(dim=0)
    if fault == "means of weights":
        dgamma, dbeta = dgamma * gamma.numel() / x.numel(), dbeta * gamma.numel() / x.numel()
    out = whitened * gamma + beta
    return out, dx, dgamma, dbeta


def _spoilt_norm(fault):
    return lambda x, gamma, beta: normalise(x, gamma, beta, fault)


def _spoilt_norm_gradient(fault):
    return lambda x, gamma, beta, dout: norm_by_hand(x, gamma, beta, dout, fault)


def norm_case(name, *shape, std=1.0, mean=0.0):
    """Describe a case of layer norm on x of ``shape``."""
    D = shape[-1]
    x, gamma = normal(*shape, std=std, mean=mean), normal(D, mean=1.0, std=0.5)
    return Case(name, x=x, gamma=gamma, beta=normal(D), dout=normal(*shape))


_PER_VECTOR = "mean and variance belong to one vector of D features, at one position of one sequence"
_WAY_BACK = "x reaches the output on three ways: directly, through the mean, and through the variance"

layer_norm = ForwardBackward(
    functions=("layer_norm_forward", "layer_norm_backward"),
    reference=lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta),
    cases=[
        norm_case("2 sequences of 3 steps", 2, 3, 5, std=2.0, mean=1.0),
        norm_case("small numbers", 3, 2, 4, std=0.01),
    ],
    points={"out": 1, "dx": 2, "dgamma": 0.5, "dbeta": 0.5},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake("normalises over the steps", _spoilt_norm("over the steps"), hint=_PER_VECTOR),
        Mistake("normalises over steps and features", _spoilt_norm("over steps and features"), hint=_PER_VECTOR),
        Mistake("normalises over the batch", _spoilt_norm("over the batch"), hint=_PER_VECTOR),
        Mistake(
            "divides the squares by D - 1",
            _spoilt_norm("unbiased"),
            hint="the variance is the mean of the squares; torch's var has another default",
        ),
        Mistake(
            "adds eps to the standard deviation",
            _spoilt_norm("eps outside"),
            hint="does eps stand inside the root or outside of it?",
        ),
        Mistake("leaves eps out", _spoilt_norm("no eps"), hint="with a small variance eps can be seen"),
        Mistake("divides by the variance", _spoilt_norm("by the variance"), hint="the result is to have variance 1"),
        Mistake(
            "leaves gamma out of dx",
            _spoilt_norm_gradient("gamma forgotten"),
            hint="on its way to x the gradient meets the scale first",
        ),
        Mistake("leaves gamma out", _spoilt_norm("no gamma"), hint="scale and shift come last"),
        Mistake("leaves beta out", _spoilt_norm("no beta"), hint="scale and shift come last"),
        Mistake("does not subtract the mean", _spoilt_norm("not centred"), hint="the result is to have mean 0"),
        Mistake("takes mean and variance for constants", _spoilt_norm_gradient("statistics constant"), hint=_WAY_BACK),
        Mistake("takes the variance for a constant", _spoilt_norm_gradient("variance constant"), hint=_WAY_BACK),
        Mistake("takes the mean for a constant", _spoilt_norm_gradient("mean constant"), hint=_WAY_BACK),
        Mistake(
            "takes the means of dx over the batch",
            _spoilt_norm_gradient("means over the batch"),
            hint="the means on the way back run along the axis of those on the way there",
        ),
        Mistake(
            "takes sums in place of the means of dx",
            _spoilt_norm_gradient("sums"),
            hint="mean and variance are means: what factor does the way back through a mean have?",
        ),
        Mistake(
            "forgets the division by the standard deviation in dx",
            _spoilt_norm_gradient("spread forgotten"),
            hint="the three ways have one factor in common",
        ),
        Mistake(
            "multiplies with x for dgamma",
            _spoilt_norm_gradient("gamma of x"),
            hint="what is gamma multiplied with?",
        ),
        Mistake(
            "averages dgamma and dbeta",
            _spoilt_norm_gradient("means of weights"),
            hint="gradients of shared weights add up over all vectors",
        ),
    ],
)
