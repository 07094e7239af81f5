"""Convolutions with fewer weights: 1×1, and depthwise separable."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Function, Mistake, normal
from dlcvkit.exercises.a3.convolution.faults import torch_settings


def _pointwise(x, w, b):
    return functional.conv2d(x, w[:, :, None, None], b)


pointwise_conv = Function(
    functions=("pointwise_conv",),
    reference=_pointwise,
    cases=[
        Case("two images of 3×5×4, two filters", x=normal(2, 3, 5, 4), w=normal(2, 3), b=normal(2)),
        Case("as many filters as channels", x=normal(3, 4, 2, 3), w=normal(4, 4), b=normal(4)),
        Case("as many filters as rows", x=normal(2, 2, 3, 4), w=normal(3, 2), b=normal(3)),
    ],
    points={"out": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "leaves the bias out",
            lambda x, w, b: _pointwise(x, w, None),
            hint="every place of filter f gets b[f] added",
        ),
        Mistake(
            "multiplies with the transpose of w",
            lambda x, w, b: _pointwise(x, w.T, b),
            hint="output f of a pixel is row f of w times the pixel's channels",
        ),
        Mistake(
            "reshapes where axes should change places",
            lambda x, w, b: functional.linear(x.reshape(-1, x.shape[1]), w, b).reshape(len(x), len(w), *x.shape[2:]),
            hint="reshape only cuts anew, it moves nothing: the channels of one pixel do not lie side by side",
        ),
        Mistake(
            "leaves the filters in the last axis",
            lambda x, w, b: _pointwise(x, w, b).movedim(1, 3),
            hint="images are (N, C, H, W), and so is what a layer makes of them: (N, F, H, W)",
        ),
        Mistake(
            "leaves the filters in the last axis and reshapes",
            lambda x, w, b: _pointwise(x, w, b).movedim(1, 3).reshape(len(x), len(w), *x.shape[2:]),
            hint="reshape only cuts anew, it moves nothing: bring the axes into the order N, F, H, W",
        ),
        Mistake(
            "exchanges height and width",
            lambda x, w, b: _pointwise(x, w, b).transpose(2, 3),
            hint="H comes before W, in the output as in the input",
        ),
        Mistake(
            "adds the bias along the width",
            lambda x, w, b: _pointwise(x, w, torch.zeros_like(b)) + b[: x.shape[3]],
            hint="b has one entry per filter: give it the shape (F, 1, 1) before it is added",
        ),
        Mistake(
            "averages over the channels",
            lambda x, w, b: _pointwise(x, w / x.shape[1], b),
            hint="an output is a sum over the channels, nothing is divided",
        ),
    ],
)


def _separable(x, w_depth, w_point, b, conv_param):
    middle = functional.conv2d(x, w_depth[:, None], None, groups=len(w_depth), **torch_settings(conv_param))
    return functional.conv2d(middle, w_point[:, :, None, None], b)


def _with_settings(**changes):
    """The output for settings that differ from those asked for; its gradients would not fit the upstream one."""

    def variant(x, w_depth, w_point, b, conv_param, dout):
        out = _separable(x, w_depth, w_point, b, {**conv_param, **changes})
        return out, *(x.new_empty(0) for _ in range(4))

    return variant


def _pointwise_first(x, w_depth, w_point, b, conv_param):
    """Works if there are as many filters as channels."""
    mixed = functional.conv2d(x, w_point[:, :, None, None], b)
    return functional.conv2d(mixed, w_depth[:, None], None, groups=len(w_depth), **torch_settings(conv_param))


def _bias_in_the_middle(x, w_depth, w_point, b, conv_param):
    middle = functional.conv2d(x, w_depth[:, None], None, groups=len(w_depth), **torch_settings(conv_param))
    return functional.conv2d(middle + b.sum(), w_point[:, :, None, None])


def _with_relu(x, w_depth, w_point, b, conv_param):
    middle = functional.conv2d(x, w_depth[:, None], None, groups=len(w_depth), **torch_settings(conv_param))
    return functional.conv2d(middle.relu(), w_point[:, :, None, None], b)


def _one_kernel_for_all(x, w_depth, w_point, b, conv_param):
    return _separable(x, w_depth[:1].expand_as(w_depth), w_point, b, conv_param)


def _summed_channels(x, w_depth, w_point, b, conv_param):
    middle = functional.conv2d(x, w_depth[None], None, **torch_settings(conv_param)).expand(-1, len(w_depth), -1, -1)
    return functional.conv2d(middle, w_point[:, :, None, None], b)


def _gradients(change):
    """Right outputs; the gradients, by name, are changed by ``change(gradients, given)``."""

    def variant(x, w_depth, w_point, b, conv_param, dout):
        variables = [value.detach().clone().requires_grad_() for value in (x, w_depth, w_point, b)]
        with torch.enable_grad():
            out = _separable(*variables, conv_param)
            found = torch.autograd.grad(out, variables, dout)
        named = dict(zip(("dx", "dw_depth", "dw_point", "db"), found, strict=True))
        named |= change(named, {"x": x, "w_depth": w_depth, "w_point": w_point, "dout": dout, "conv_param": conv_param})
        return (out.detach(), *named.values())

    return variant


def _point_weights_forgotten(gradients, given):
    """What the depthwise kernels get if the pixels' mixing is passed over on the way back."""
    variable = given["w_depth"].detach().clone().requires_grad_()
    settings = torch_settings(given["conv_param"])
    with torch.enable_grad():
        middle = functional.conv2d(given["x"], variable[:, None], None, groups=len(variable), **settings)
        (slopes,) = torch.autograd.grad(middle, variable, given["dout"][:, :1].expand_as(middle))
    return {"dw_depth": slopes}


depthwise_separable = ForwardBackward(
    functions=("depthwise_separable_forward", "depthwise_separable_backward"),
    reference=_separable,
    cases=[
        Case(
            "two images of 3×5×4, padded",
            x=normal(2, 3, 5, 4),
            w_depth=normal(3, 3, 2),
            w_point=normal(2, 3),
            b=normal(2),
            conv_param={"pad": 1},
            dout=normal(2, 2, 5, 5),
        ),
        Case(
            "a stride, and as many filters as channels",
            x=normal(2, 2, 6, 7),
            w_depth=normal(2, 3, 2),
            w_point=normal(2, 2),
            b=normal(2),
            conv_param={"stride": 2},
            dout=normal(2, 2, 2, 3),
        ),
        Case(
            "dilation",
            x=normal(2, 2, 5, 6),
            w_depth=normal(2, 2, 3),
            w_point=normal(4, 2),
            b=normal(4),
            conv_param={"dilation": 2, "pad": 1},
            dout=normal(2, 4, 5, 4),
        ),
    ],
    points={"out": 2, "dx": 1, "dw_depth": 1, "dw_point": 1, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the bias out",
            lambda x, w_depth, w_point, b, conv_param: _separable(x, w_depth, w_point, None, conv_param),
            hint="every place of filter f gets b[f] added, at the end",
        ),
        Mistake(
            "uses one kernel for all channels",
            _one_kernel_for_all,
            hint="channel c has a kernel of its own, w_depth[c]",
        ),
        Mistake(
            "turns the kernels round",
            lambda x, w_depth, w_point, b, conv_param: _separable(x, w_depth.flip(1, 2), w_point, b, conv_param),
            hint="entry (p, q) of a kernel meets the pixel p rows below and q columns right of the window's corner",
        ),
        Mistake(
            "puts a ReLU between the steps",
            _with_relu,
            hint="networks often do; the formula here has nothing between the two steps",
        ),
        Mistake(
            "adds up the channels in the first step",
            _summed_channels,
            hint="the first step leaves the channels apart: as many groups as channels",
        ),
        Mistake("mixes the channels first", _pointwise_first, hint="first each channel by itself, then the mixture"),
        Mistake("adds the bias between the steps", _bias_in_the_middle, hint="the bias comes last; there is only one"),
        Mistake(
            "ignores the padding",
            _with_settings(pad=0),
            hint="the settings are meant for the first step: hand them on",
        ),
        Mistake(
            "ignores the stride",
            _with_settings(stride=1),
            hint="the settings are meant for the first step: hand them on",
        ),
        Mistake(
            "ignores the dilation",
            _with_settings(dilation=1),
            hint="the settings are meant for the first step: hand them on",
        ),
        Mistake(
            "returns dw_depth with an axis of length 1",
            _gradients(lambda gradients, given: {"dw_depth": gradients["dw_depth"][:, None]}),
            hint="a gradient has the shape of what it belongs to: w_depth is (C, HH, WW)",
        ),
        Mistake(
            "returns dw_point with axes of length 1",
            _gradients(lambda gradients, given: {"dw_point": gradients["dw_point"][:, :, None, None]}),
            hint="a gradient has the shape of what it belongs to: w_point is (F, C)",
        ),
        Mistake(
            "computes dw_point from x instead of from what the second step was given",
            _gradients(
                lambda gradients, given: {
                    "dw_point": torch.einsum(
                        "nfij,ncij->fc",
                        given["dout"],
                        given["x"][:, :, : given["dout"].shape[2], : given["dout"].shape[3]],
                    )
                }
            ),
            hint="the second step has seen the output of the first: that is what its weights were multiplied with",
        ),
        Mistake(
            "passes over the second step on the way back",
            _gradients(_point_weights_forgotten),
            hint="dout belongs to the output of the second step: what does that tell the output of the first?",
        ),
        Mistake(
            "averages db over images and places",
            _gradients(lambda gradients, given: {"db": given["dout"].mean((0, 2, 3))}),
            hint="b[f] enters every output of filter f with factor 1, and what they are told adds up",
        ),
        Mistake(
            "ignores the upstream gradient",
            lambda x, w_depth, w_point, b, conv_param, dout: _gradients(lambda gradients, given: {})(
                x, w_depth, w_point, b, conv_param, torch.ones_like(dout)
            ),
            hint="every gradient holds dout: what comes after this layer says how much each output matters",
        ),
        Mistake(
            "exchanges dw_depth and dw_point",
            _gradients(lambda gradients, given: {"dw_depth": gradients["dw_point"], "dw_point": gradients["dw_depth"]}),
            hint="look at the order of the gradients in the docstring",
        ),
    ],
)
