"""The gates: sum, product, maximum, copy and sigmoid, each with wrong local derivatives."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal


def _pair(*shape, **options):
    return {name: normal(*shape, **options) for name in ("x", "y", "dout")}


_PAIR_CASES = [
    Case("one number", **_pair(1)),
    Case("no axis", **_pair()),
    Case("float32", **_pair(4, 3)).float32(),
    Case("four axes with gaps", **_pair(2, 3, 1, 2)).strided(),
    Case("numbers of 1e6", x=normal(5, std=1e6), y=normal(5), dout=normal(5, std=1e3)),
    Case("zeros", x=given([0.0, 0.0, 1.5, -2.0]), y=given([0.0, 3.0, 0.0, -2.0]), dout=normal(4)),
    Case("no upstream gradient", x=normal(3, 2), y=normal(3, 2), dout=given([[0.0] * 2] * 3)),
]


def _remember(function):
    """Return a forward function that keeps its inputs and output in a dict, with more than is needed."""

    def forward(*inputs):
        out = function(*inputs)
        return out, {"inputs": inputs, "out": out, "shape": out.shape, "more": [None]}

    return forward


def _as_list(function):
    """Return a backward function, ``function(dout, *inputs)``, that gives its gradients as a list."""
    return lambda dout, cache: list(function(dout, *cache["inputs"]))


def _entries(function):
    """Return a function that works entry by entry in a Python loop."""

    def looped(*tensors):
        flat = [tensor.reshape(-1) for tensor in tensors]
        out = torch.empty_like(flat[0])
        for i in range(len(out)):
            out[i] = function(*(part[i] for part in flat))
        return out.reshape(tensors[0].shape)

    return looped


def _scaled_in_place(dout, cache):
    dout *= 2
    return dout / 2, dout / 2


_add_forward = _remember(lambda x, y: x + y)

add_gate = Hidden(
    cases=_PAIR_CASES,
    mutants={
        "changes the upstream gradient": (_add_forward, _scaled_in_place),
        "changes x": (lambda x, y: (x.add_(y), None), lambda dout, cache: (dout, dout)),
        "returns no cache": (lambda x, y: x + y, lambda dout, cache: (dout, dout)),
        "returns one gradient": (_add_forward, lambda dout, cache: dout),
        "sums the gradient up": (_add_forward, lambda dout, cache: (dout.sum(), dout.sum())),
        "takes the sign of the gradient": (_add_forward, lambda dout, cache: (dout.sign(), dout.sign())),
        "subtracts in backward": (_add_forward, lambda dout, cache: (dout, -dout)),
        "always float64": (_add_forward, lambda dout, cache: (dout.double(), dout.double())),
        "uses autograd": (
            _add_forward,
            lambda dout, cache: torch.autograd.grad(sum(v.requires_grad_() for v in cache["inputs"]), cache["inputs"]),
        ),
    },
    solutions={
        "a dict as cache, a list of gradients": (_add_forward, _as_list(lambda dout, x, y: (dout.clone(), dout * 1))),
        "entry by entry, ones as slopes": (
            lambda x, y: (_entries(lambda a, b: a + b)(x, y), (torch.ones_like(x), torch.ones_like(y))),
            lambda dout, cache: (dout * cache[0], dout * cache[1]),
        ),
        "minus the negative": (lambda x, y: (x - -y, ()), lambda dout, cache: (dout.neg().neg(), dout + 0)),
    },
)

_mul_forward = _remember(lambda x, y: x * y)

mul_gate = Hidden(
    cases=_PAIR_CASES,
    mutants={
        "divides the output by its inputs": (
            _mul_forward,
            lambda dout, cache: tuple(dout * cache["out"] / v for v in cache["inputs"]),
        ),
        "changes the upstream gradient": (
            _mul_forward,
            lambda dout, cache: (dout * cache["inputs"][1], dout.mul_(cache["inputs"][0])),
        ),
        "swaps the gradients": (
            lambda x, y: (x * y, (x, y)),
            lambda dout, cache: (dout * cache[0], dout * cache[1]),
        ),
        "returns one gradient": (_mul_forward, lambda dout, cache: dout * cache["inputs"][1]),
        "takes absolute values": (
            _mul_forward,
            lambda dout, cache: (dout * cache["inputs"][1].abs(), dout * cache["inputs"][0].abs()),
        ),
        "sums the gradient up": (
            _mul_forward,
            lambda dout, cache: ((dout * cache["inputs"][1]).sum(), (dout * cache["inputs"][0]).sum()),
        ),
        "multiplies matrices": (
            lambda x, y: (x @ y.mT, (x, y)),
            lambda dout, cache: (dout @ cache[1], dout @ cache[0]),
        ),
    },
    solutions={
        "a dict as cache, a list of gradients": (
            _mul_forward,
            _as_list(lambda dout, x, y: (torch.mul(y, dout), torch.mul(x, dout))),
        ),
        "entry by entry": (
            lambda x, y: (_entries(lambda a, b: a * b)(x, y), (y.clone(), x.clone())),
            lambda dout, cache: tuple(_entries(lambda a, b: a * b)(dout, slope) for slope in cache),
        ),
        "by einsum": (
            lambda x, y: (torch.einsum("...,...->...", x, y), (x, y)),
            lambda dout, cache: (torch.einsum("...,...->...", dout, cache[1]), cache[0].mul(dout)),
        ),
    },
)

_max_forward = _remember(lambda x, y: torch.maximum(x, y))


def _max_by_masks(dout, cache):
    x, y = cache["inputs"]
    dx, dy = dout.clone(), dout.clone()
    dx[x < y] = 0
    dy[~(x < y)] = 0
    return dx, dy


def _max_backward_in_place(dout, cache):
    x, y = cache["inputs"]
    dy = torch.where(y > x, dout, torch.zeros_like(dout))
    dout[y > x] = 0
    return dout, dy


max_gate = Hidden(
    cases=[
        *_PAIR_CASES,
        Case("all equal", x=given([2.0, 2.0, -2.0]), y=given([2.0, 2.0, -2.0]), dout=normal(3)),
        Case("the first always larger", x=normal(3, 2, mean=9.0), y=normal(3, 2, mean=-9.0), dout=normal(3, 2)),
        Case("the second always larger", x=normal(3, 2, mean=-9.0), y=normal(3, 2, mean=9.0), dout=normal(3, 2)),
        Case("numbers of -1e8", x=normal(5, std=1e8, mean=-1e9), y=normal(5, std=1e8, mean=-1e9), dout=normal(5)),
    ],
    mutants={
        "changes the upstream gradient": (_max_forward, _max_backward_in_place),
        "compares absolute values": (
            lambda x, y: (torch.where(x.abs() >= y.abs(), x, y), (x, y)),
            lambda dout, cache: (dout * (cache[0].abs() >= cache[1].abs()), dout * (cache[0].abs() < cache[1].abs())),
        ),
        "one winner for the whole tensor": (
            _max_forward,
            lambda dout, cache: (
                (dout, torch.zeros_like(dout))
                if cache["inputs"][0].sum() >= cache["inputs"][1].sum()
                else (torch.zeros_like(dout), dout)
            ),
        ),
        "equal means nearly equal": (
            _max_forward,
            lambda dout, cache: (
                dout * (cache["inputs"][0] >= cache["inputs"][1] - 0.3),
                dout * (cache["inputs"][0] < cache["inputs"][1] - 0.3),
            ),
        ),
        "is a ReLU of the first": (
            lambda x, y: (x.clamp(min=0), x),
            lambda dout, cache: (dout * (cache > 0), torch.zeros_like(dout)),
        ),
        "returns masks": (
            _max_forward,
            lambda dout, cache: (cache["inputs"][0] >= cache["inputs"][1], cache["inputs"][0] < cache["inputs"][1]),
        ),
        "compares with the output for both": (
            _max_forward,
            lambda dout, cache: tuple(dout * (v == cache["out"]) for v in cache["inputs"]),
        ),
    },
    solutions={
        "by masks": (_max_forward, _max_by_masks),
        "the rest for the second": (
            lambda x, y: (x + (y - x).clamp(min=0), (x >= y).to(x.dtype)),
            lambda dout, cache: [dout * cache, dout - dout * cache],
        ),
        "by where": (
            _max_forward,
            lambda dout, cache: (
                torch.where(cache["inputs"][0] == cache["out"], dout, 0.0),
                torch.where(cache["inputs"][0] == cache["out"], 0.0, dout),
            ),
        ),
    },
)


def _copies(*shape, **options):
    return {name: normal(*shape, **options) for name in ("x", "dfirst", "dsecond")}


def _copy_backward_in_place(dfirst, dsecond, cache):
    dfirst += dsecond
    return dfirst


def _twice(x):
    return x, x, None


copy_gate = Hidden(
    cases=[
        Case("one number", **_copies(1)),
        Case("no axis", **_copies()),
        Case("float32", **_copies(3, 2)).float32(),
        Case("four axes with gaps", **_copies(2, 1, 3, 2)).strided(),
        Case("equal gradients", x=normal(3), dfirst=given([1.0, -2.0, 0.5]), dsecond=given([1.0, -2.0, 0.5])),
        Case("gradients of very different size", x=normal(4), dfirst=normal(4, std=1e6), dsecond=normal(4)),
        Case("one copy without a gradient", x=normal(4), dfirst=given([0.0] * 4), dsecond=normal(4)),
    ],
    mutants={
        "changes an upstream gradient": (_twice, _copy_backward_in_place),
        "takes the larger gradient": (_twice, lambda dfirst, dsecond, cache: torch.maximum(dfirst, dsecond)),
        "doubles the first gradient": (_twice, lambda dfirst, dsecond, cache: 2 * dfirst),
        "concatenates the gradients": (_twice, lambda dfirst, dsecond, cache: torch.cat([dfirst[None], dsecond[None]])),
        "returns both gradients": (_twice, lambda dfirst, dsecond, cache: (dfirst, dsecond)),
        "gives the second user zeros": (
            lambda x: (x, torch.zeros_like(x), None),
            lambda dfirst, dsecond, cache: dfirst + dsecond,
        ),
        "sums over the entries": (_twice, lambda dfirst, dsecond, cache: (dfirst + dsecond).sum()),
        "adds the squares": (_twice, lambda dfirst, dsecond, cache: (dfirst**2 + dsecond**2).sqrt()),
    },
    solutions={
        "clones, by a sum over a stack": (
            lambda x: (x.clone(), x.clone(), {"shape": x.shape}),
            lambda dfirst, dsecond, cache: torch.stack([dfirst, dsecond]).sum(0),
        ),
        "a list, accumulated": (
            lambda x: [x, x + 0, []],
            lambda dfirst, dsecond, cache: torch.zeros_like(dfirst).add_(dfirst).add_(dsecond),
        ),
    },
)


def _sigmoid_by_halves(x):
    """The sigmoid with an exponential that is never larger than 1."""
    small = torch.exp(-x.abs())
    return torch.where(x >= 0, 1 / (1 + small), small / (1 + small)), x


def _halves_backward(dout, x):
    small = torch.exp(-x.abs())
    return dout * small / (1 + small) ** 2


def _clamped(x):
    out = 1 / (1 + torch.exp(-x.clamp(-5, 5)))
    return out, out


def _from_out(dout, out):
    return dout * out * (1 - out)


def _by_exp(x):
    out = 1 / (1 + torch.exp(-x))
    return out, out


sigmoid_gate = Hidden(
    cases=[
        Case("one number", x=normal(1), dout=normal(1)),
        Case("no axis", x=normal(), dout=normal()),
        Case("three axes with gaps", x=normal(2, 3, 4, std=3.0), dout=normal(2, 3, 4)).strided(),
        Case("float32", x=normal(4, 3, std=2.0), dout=normal(4, 3)).float32(),
        Case(
            "float32 from -1e4 to 1e4", x=given([-1e4, -100.0, -12.0, 0.0, 12.0, 100.0, 1e4]), dout=normal(7)
        ).float32(),
        Case("numbers of 1e4", x=normal(6, std=1e4), dout=normal(6)),
        Case("very negative", x=given([-30.0, -31.0, -32.0]), dout=normal(3, std=1e13)),
        Case("all zero", x=given([[0.0, 0.0]]), dout=normal(1, 2)),
        Case("no upstream gradient", x=normal(3), dout=given([0.0, 0.0, 0.0])),
    ],
    mutants={
        "clamps its input": (_clamped, _from_out),
        "divides e^x by 1 + e^x": (lambda x: (x.exp() / (1 + x.exp()), x.exp() / (1 + x.exp())), _from_out),
        "derivative from exponentials": (
            lambda x: (_by_exp(x)[0], x),
            lambda dout, x: dout * torch.exp(-x) / (1 + torch.exp(-x)) ** 2,
        ),
        "uses torch's sigmoid": (lambda x: (torch.sigmoid(x), torch.sigmoid(x)), _from_out),
        "uses torch's sigmoid as a method": (lambda x: (x.sigmoid(),) * 2, _from_out),
        "uses torch.special": (lambda x: (torch.special.expit(x),) * 2, _from_out),
        "uses torch's derivative": (_by_exp, lambda dout, out: torch.ops.aten.sigmoid_backward(dout, out)),
        "slope of the wrong sign": (_by_exp, lambda dout, out: dout * out * (out - 1)),
        "puts dout where out belongs": (_by_exp, lambda dout, out: dout * (1 - dout)),
        "rounds to steps": (lambda x: ((x > 0).to(x.dtype),) * 2, _from_out),
        "a hard sigmoid": (lambda x: ((x / 4 + 0.5).clamp(0, 1),) * 2, _from_out),
        "changes x": (lambda x: (x.neg_().exp_().add_(1).reciprocal_(),) * 2, _from_out),
    },
    solutions={
        "by halves": (_sigmoid_by_halves, _halves_backward),
        "by tanh": (
            lambda x: (
                0.5 * (1 + torch.tanh(x / 2)),
                {"x": x, "slope": 0.25 / torch.cosh(x.clamp(-700, 700) / 2) ** 2},
            ),
            lambda dout, cache: dout * cache["slope"],
        ),
        "out minus its square": (_by_exp, lambda dout, out: (out - out * out) * dout),
    },
)
