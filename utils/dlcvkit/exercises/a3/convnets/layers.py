"""Convolution, ReLU and max pooling as one layer."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, ForwardBackward, Mistake, normal

POOL = {"height": 2, "width": 2, "stride": 2}


def sandwich_case(name, x, w, *, stride=1, pad=0, pool=None, bias=1.0, std=1.0):
    """Return a case of the sandwich.

    Args:
        name: The case's name.
        x: Shape of the images, (N, C, H, W).
        w: Shape of the filters, (F, C, HH, WW).
        stride: Stride of the convolution.
        pad: Its padding.
        pool: Height, width and stride of the pooling; 2, 2 and 2 if None.
        bias: Standard deviation of the bias.
        std: Standard deviation of the images.
    """
    height, width, step = pool or (2, 2, 2)
    sizes = [
        ((size + 2 * pad - kernel) // stride + 1 - window) // step + 1
        for size, kernel, window in zip(x[2:], w[2:], (height, width), strict=True)
    ]
    return Case(
        name,
        x=normal(*x, std=std),
        w=normal(*w),
        b=normal(w[0], std=bias),
        conv_param={"stride": stride, "pad": pad},
        pool_param={"height": height, "width": width, "stride": step},
        dout=normal(x[0], w[0], *sizes),
    )


def compute_sandwich(
    x,
    w,
    b,
    conv_param,
    pool_param,
    *,
    relu=functional.relu,
    before=lambda x: x,
    pool=functional.max_pool2d,
    biased=True,
    uses=("stride", "pad"),
    step=None,
):
    """Return the output of convolution, ReLU and pooling; each keyword switches a mistake on."""
    given = {"stride": 1, "pad": 0} | {name: conv_param[name] for name in uses}
    hidden = functional.conv2d(before(x), w, b if biased else None, given["stride"], given["pad"])
    return pool(relu(hidden), (pool_param["height"], pool_param["width"]), step or pool_param["stride"])


def stacking(**mistakes):
    """Return a variant of the sandwich with mistakes switched on."""

    def variant(x, w, b, conv_param, pool_param):
        return compute_sandwich(x, w, b, conv_param, pool_param, **mistakes)

    return variant


def misshaping(**mistakes):
    """Return a variant whose output has another shape, so that backward has nothing to tell."""

    def variant(x, w, b, conv_param, pool_param, dout):
        out = compute_sandwich(x, w, b, conv_param, pool_param, **mistakes)
        return out, *(torch.full_like(each, torch.inf) for each in (x, w, b))

    return variant


def past_the_gate(hidden):
    """ReLU with the gradient of the identity."""
    return functional.relu(hidden).detach() + hidden - hidden.detach()


conv_relu_pool = ForwardBackward(
    functions=("conv_relu_pool_forward", "conv_relu_pool_backward"),
    reference=stacking(),
    cases=[
        sandwich_case("3×3, pad 1", (3, 2, 6, 8), (4, 2, 3, 3), pad=1),
        sandwich_case("stride 2, overlapping pools", (2, 3, 11, 9), (2, 3, 3, 2), stride=2, pool=(3, 2, 1)),
    ],
    points={"out": 1, "dx": 1, "dw": 1, "db": 1},
    mistakes=[
        Mistake(
            "goes back past ReLU",
            stacking(relu=past_the_gate),
            hint="three layers forward are three layers backward, in reverse order",
        ),
        Mistake(
            "leaves ReLU out",
            stacking(relu=lambda hidden: hidden),
            hint="between convolution and pooling stands ReLU",
        ),
        Mistake(
            "applies ReLU to the images instead",
            stacking(relu=lambda hidden: hidden, before=functional.relu),
            hint="convolution comes first; ReLU gets what comes out of it",
        ),
        Mistake(
            "applies ReLU to the images as well",
            stacking(before=functional.relu),
            hint="convolution comes first and takes the images as they are",
        ),
        Mistake("leaves the bias out", stacking(biased=False), hint="convolution has a bias: one number per filter"),
        Mistake(
            "takes the mean of each window",
            stacking(pool=functional.avg_pool2d),
            hint="the pooling of this sandwich takes the largest entry of each window",
        ),
        Mistake(
            "ignores conv_param",
            misshaping(uses=()),
            hint="stride and padding of the convolution are those of conv_param",
        ),
        Mistake(
            "ignores the padding",
            misshaping(uses=("stride",)),
            hint="conv_param has a padding as well as a stride",
        ),
        Mistake(
            "pools in steps of 2 whatever pool_param says",
            misshaping(step=2),
            hint="the stride of the pooling is that of pool_param",
        ),
        Mistake(
            "leaves the pooling out",
            misshaping(pool=lambda active, *_: active),
            hint="the output of the sandwich is that of the pooling",
        ),
    ],
)
