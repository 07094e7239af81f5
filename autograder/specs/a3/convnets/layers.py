"""The sandwich of convolution, ReLU and max pooling."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden, Mistake
from dlcvkit.exercises.a3.convnets.layers import sandwich_case, stacking
from dlcvkit.layers import (
    conv_backward,
    conv_forward,
    max_pool_backward,
    max_pool_forward,
    relu_backward,
    relu_forward,
)


def _sandwich(
    *,
    order=("conv", "relu", "pool"),
    back=None,
    keeps_last=False,
    swaps=False,
    in_place=False,
    scale=1.0,
):
    """Return the pair from a list of layers; each keyword switches a mistake on.

    Args:
        order: Layers forward.
        back: Layers backward, last first; those of ``order`` in reverse if None.
        keeps_last: Whether backward uses the caches of the latest forward call, whatever it is given.
        swaps: Whether dx and dw are returned in the wrong order.
        in_place: Whether ReLU writes into ``x``.
        scale: Factor of the gradients.
    """
    latest = {}

    def forward(x, w, b, conv_param, pool_param):
        if in_place:
            x.clamp_(min=0)
        steps = {
            "conv": lambda h: conv_forward(h, w, b, conv_param),
            "relu": relu_forward,
            "pool": lambda h: max_pool_forward(h, pool_param),
        }
        caches = {}
        for name in order:
            x, caches[name] = steps[name](x)
        latest.clear()
        latest.update(caches)
        return x, latest if keeps_last else caches

    def backward(dout, cache):
        dw = db = None
        for name in back or tuple(reversed(order)):
            if name == "conv":
                dout, dw, db = conv_backward(dout, cache[name])
            else:
                dout = {"relu": relu_backward, "pool": max_pool_backward}[name](dout, cache[name])
        return (dw, dout, db) if swaps else (scale * dout, scale * dw, scale * db)

    return forward, backward


def _by_autograd_forward(x, w, b, conv_param, pool_param):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, w, b)]
    window = (pool_param["height"], pool_param["width"])
    with torch.enable_grad():
        maps = functional.conv2d(leaves[0], leaves[1], leaves[2], conv_param["stride"], conv_param["pad"])
        out = functional.max_pool2d(maps, window, pool_param["stride"]).clamp(min=0)
    return out.detach(), {"out": out, "leaves": leaves}


def _by_autograd_backward(dout, cache):
    return list(torch.autograd.grad(cache["out"], cache["leaves"], dout))


def _by_gate_forward(x, w, b, conv_param, pool_param):
    maps, conv_cache = conv_forward(x, w, b, conv_param)
    out, pool_cache = max_pool_forward(maps * (maps > 0), pool_param)
    return out, [maps > 0, conv_cache, pool_cache]


def _by_gate_backward(dout, cache):
    gate, conv_cache, pool_cache = cache
    return tuple(conv_backward(max_pool_backward(dout, pool_cache).masked_fill(~gate, 0.0), conv_cache))


def _past_relu_backward(dout, cache):
    return conv_backward(max_pool_backward(dout, cache["pool"]), cache["conv"])


def _gate_of_output_backward(dout, cache):
    """Opens the gate by the sign of the gradient."""
    return conv_backward(relu_forward(max_pool_backward(dout, cache["pool"]))[0], cache["conv"])


conv_relu_pool = Hidden(
    cases=[
        sandwich_case("one image, one channel", (1, 1, 5, 6), (1, 1, 3, 3), pad=1),
        sandwich_case("filters of 1×1", (2, 3, 4, 6), (5, 3, 1, 1)),
        sandwich_case("filters of 5×2", (2, 2, 9, 5), (3, 2, 5, 2), pad=2),
        sandwich_case("stride 3", (2, 2, 10, 13), (3, 2, 3, 3), stride=3, pad=1),
        sandwich_case("rows and columns left over", (2, 2, 7, 9), (3, 2, 3, 3), pad=1),
        sandwich_case("windows of 1×3", (2, 1, 5, 8), (2, 1, 3, 3), pad=1, pool=(1, 3, 1)),
        sandwich_case("windows of 3×3, stride 2", (2, 3, 9, 8), (4, 3, 3, 3), pad=1, pool=(3, 3, 2)),
        sandwich_case("windows of 1×1", (2, 3, 5, 4), (2, 3, 3, 3), pad=1, pool=(1, 1, 1)),
        sandwich_case("bias of 0", (2, 2, 4, 6), (3, 2, 3, 3), pad=1, bias=0.0),
        sandwich_case("images of 1e6", (2, 2, 4, 6), (3, 2, 3, 3), pad=1, std=1e6),
        sandwich_case("nothing is active", (2, 1, 4, 4), (2, 1, 3, 3), pad=1, std=0.0),
        sandwich_case("float32", (3, 2, 6, 8), (4, 2, 3, 3), pad=1).float32(),
        sandwich_case("non-contiguous", (3, 2, 6, 8), (4, 2, 3, 3), pad=1).strided(),
    ],
    mistakes=[
        Mistake(
            "puts a second ReLU before the convolution",
            stacking(before=lambda x: functional.relu(x)),
            hint="one ReLU, after the convolution",
        ),
    ],
    mutants={
        "pools before the convolution": _sandwich(order=("pool", "conv", "relu")),
        "no ReLU": _sandwich(order=("conv", "pool")),
        "no pooling": _sandwich(order=("conv", "relu")),
        "ReLU first": _sandwich(order=("relu", "conv", "pool")),
        "goes back without ReLU": (_sandwich()[0], _past_relu_backward),
        "ReLU of the gradient": (_sandwich()[0], _gate_of_output_backward),
        "swaps dx and dw": _sandwich(swaps=True),
        "changes x": _sandwich(order=("conv", "relu", "pool"), in_place=True),
        "gradients of the mean": _sandwich(scale=0.5),
    },
    solutions={
        "pooling before ReLU": _sandwich(order=("conv", "pool", "relu")),
        "autograd, a list": (_by_autograd_forward, _by_autograd_backward),
        "a gate by hand": (_by_gate_forward, _by_gate_backward),
    },
)
