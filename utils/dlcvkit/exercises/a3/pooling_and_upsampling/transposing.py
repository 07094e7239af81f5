"""The convolution as a matrix, and the transposed convolution, forward and backward."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Function, Mistake, normal
from dlcvkit.exercises.a3.pooling_and_upsampling.variants import changed, ignoring_upstream, with_backward_of


def _pictures(w, size):
    """All pictures that are 1 in one entry and 0 elsewhere, (C * H * W, C, H, W)."""
    count = w.shape[1] * size[0] * size[1]
    return torch.eye(count, dtype=w.dtype, device=w.device).reshape(count, w.shape[1], *size)


def _answers(w, size, conv_param):
    """What the convolution makes of each of them, (C * H * W, F, H', W')."""
    return functional.conv2d(_pictures(w, size), w, None, conv_param["stride"], conv_param["pad"])


def matrix_of(w, size, conv_param):
    """The matrix of a convolution, a column for each entry of the input."""
    return _answers(w, size, conv_param).flatten(1).T


def _wrapped(w, size, conv_param):
    pad = conv_param["pad"]
    around = functional.pad(_pictures(w, size), (pad, pad, pad, pad), mode="circular")
    return functional.conv2d(around, w, None, conv_param["stride"]).flatten(1).T


def _channels_last_in_columns(w, size, conv_param):
    C, columns = w.shape[1], matrix_of(w, size, conv_param)
    return columns.reshape(len(columns), C, *size).permute(0, 2, 3, 1).reshape(columns.shape)


conv_matrix = Function(
    functions=("conv_matrix",),
    reference=matrix_of,
    cases=[
        Case("one channel, one filter", w=normal(1, 1, 2, 3), size=(4, 5), conv_param={"stride": 1, "pad": 0}),
        Case("stride 2, pad 1", w=normal(2, 3, 3, 3), size=(5, 4), conv_param={"stride": 2, "pad": 1}),
        Case("stride 3, pad 2", w=normal(3, 2, 4, 2), size=(6, 7), conv_param={"stride": 3, "pad": 2}),
    ],
    points={"A": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "has a row for each entry of the input and a column for each entry of the output",
            lambda w, size, conv_param: matrix_of(w, size, conv_param).T,
            hint="A times a flat input is a flat output: rows belong to outputs, columns to inputs",
        ),
        Mistake(
            "turns the filters upside down and left to right",
            lambda w, size, conv_param: matrix_of(w.flip(2, 3), size, conv_param),
            hint="the convolution of nets does not flip: w[f, c, 0, 0] meets the upper left pixel of the window",
        ),
        Mistake(
            "counts the filters last in its rows",
            lambda w, size, conv_param: _answers(w, size, conv_param).permute(0, 2, 3, 1).flatten(1).T,
            hint="an output of shape (F, H', W') is flattened in this order: all of filter 0 first",
        ),
        Mistake(
            "counts the channels last in its columns",
            _channels_last_in_columns,
            hint="an input of shape (C, H, W) is flattened in this order: all of channel 0 first",
        ),
        Mistake(
            "leaves the stride out",
            lambda w, size, conv_param: matrix_of(w, size, {**conv_param, "stride": 1}),
            hint="from one row of the output to the next the window moves on by stride pixels",
        ),
        Mistake(
            "leaves the padding out",
            lambda w, size, conv_param: matrix_of(w, size, {**conv_param, "pad": 0}),
            hint="with padding the first window starts pad pixels above and to the left of the image",
        ),
        Mistake(
            "has columns for the padding as well",
            lambda w, size, conv_param: matrix_of(
                w, tuple(n + 2 * conv_param["pad"] for n in size), {**conv_param, "pad": 0}
            ),
            hint="the padding is always 0 and needs no columns: drop them at the end",
        ),
        Mistake(
            "wraps around at the border",
            _wrapped,
            hint="what a window meets outside the image is 0, not the other side of the image",
        ),
        Mistake(
            "exchanges height and width of the image",
            lambda w, size, conv_param: matrix_of(w, size[::-1], conv_param),
            hint="size is (H, W)",
        ),
    ],
)


def transposed(x, w, b, conv_param):
    """Transposed convolution by torch."""
    stride, pad, output_pad = (conv_param[key] for key in ("stride", "pad", "output_pad"))
    return functional.conv_transpose2d(x, w, b, stride, pad, output_pad)


def _flipped(x, w, b, conv_param):
    return transposed(x, w.flip(2, 3), b, conv_param)


def canvas_of(x, w, conv_param, *, writes=False):
    """All copies of the filters added up (or written over each other), nothing cut off, no bias."""
    stride, extra = conv_param["stride"], conv_param["output_pad"]
    H, W = x.shape[2:]
    F, HH, WW = w.shape[1:]
    canvas = x.new_zeros(len(x), F, (H - 1) * stride + HH + extra, (W - 1) * stride + WW + extra)
    for row in range(H):
        for column in range(W):
            top, left = row * stride, column * stride
            copy = torch.einsum("nc,cfhw->nfhw", x[:, :, row, column], w)
            place = canvas[:, :, top : top + HH, left : left + WW]
            place.copy_(copy if writes else place + copy)
    return canvas


def _cut(canvas, pad):
    return canvas[:, :, pad : canvas.shape[2] - pad, pad : canvas.shape[3] - pad]


def _written_over(x, w, b, conv_param):
    return _cut(canvas_of(x, w, conv_param, writes=True), conv_param["pad"]) + b[:, None, None]


def _grown_by_pad(x, w, b, conv_param):
    pad = conv_param["pad"]
    return functional.pad(canvas_of(x, w, conv_param), (pad, pad, pad, pad)) + b[:, None, None]


def _extra_of_zeros(x, w, b, conv_param):
    extra = conv_param["output_pad"]
    return functional.pad(transposed(x, w, b, {**conv_param, "output_pad": 0}), (0, extra, 0, extra))


def _extra_before(x, w, b, conv_param):
    extra = conv_param["output_pad"]
    whole = functional.pad(canvas_of(x, w, {**conv_param, "output_pad": 0}), (extra, 0, extra, 0))
    return _cut(whole, conv_param["pad"]) + b[:, None, None]


def _extra_on_both_sides(x, w, b, conv_param):
    extra = conv_param["output_pad"]
    return functional.pad(transposed(x, w, b, {**conv_param, "output_pad": 0}), (extra, extra, extra, extra))


def _bias_with_every_copy(x, w, b, conv_param):
    count = transposed(torch.ones_like(x[:, :1]), torch.ones_like(w[:1, :1]), None, conv_param)
    return transposed(x, w, None, conv_param) + count * b[:, None, None]


def _dx_of(layer):
    return with_backward_of(transposed, layer)


def _dx_with_a_stride_of_one(dx, given):
    pad, (H, W) = given["conv_param"]["pad"], given["x"].shape[2:]
    return functional.conv2d(given["dout"], given["w"], None, 1, pad)[:, :, :H, :W]


def _dw_of_the_last_pixel(dw, given):
    last = given["x"] * 0
    last[:, :, -1, -1] = given["x"][:, :, -1, -1]
    inputs = {name: given[name] for name in ("w", "b", "conv_param")}
    w = inputs.pop("w").detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(transposed(last, w, **inputs), w, given["dout"])
    return gradient


def _dx_of_one_pixel(dx, given):
    stride, pad = given["conv_param"]["stride"], given["conv_param"]["pad"]
    H, W = given["x"].shape[2:]
    padded = functional.pad(given["dout"], (pad, pad, pad, pad))
    firsts = padded[:, :, : (H - 1) * stride + 1 : stride, : (W - 1) * stride + 1 : stride]
    return torch.einsum("nfhw,cf->nchw", firsts, given["w"][:, :, 0, 0])


conv_transpose = ForwardBackward(
    functions=("conv_transpose_forward", "conv_transpose_backward"),
    reference=transposed,
    cases=[
        Case(
            "stride 2",
            x=normal(2, 3, 3, 4),
            w=normal(3, 2, 2, 3),
            b=normal(2),
            conv_param={"stride": 2, "pad": 0, "output_pad": 0},
            dout=normal(2, 2, 6, 9),
        ),
        Case(
            "3×3, stride 2, pad 1, output pad 1: 2×2 to 4×4",
            x=normal(2, 2, 2, 2),
            w=normal(2, 2, 3, 3),
            b=normal(2),
            conv_param={"stride": 2, "pad": 1, "output_pad": 1},
            dout=normal(2, 2, 4, 4),
        ),
        Case(
            "stride 1, overlapping",
            x=normal(1, 2, 4, 3),
            w=normal(2, 3, 3, 2),
            b=normal(3),
            conv_param={"stride": 1, "pad": 1, "output_pad": 0},
            dout=normal(1, 3, 4, 2),
        ),
        Case(
            "stride 3, no pad, output pad 2",
            x=normal(2, 3, 2, 3),
            w=normal(3, 2, 4, 2),
            b=normal(2),
            conv_param={"stride": 3, "pad": 0, "output_pad": 2},
            dout=normal(2, 2, 9, 10),
        ),
    ],
    points={"out": 3, "dx": 2, "dw": 2, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the bias out",
            lambda x, w, b, conv_param: transposed(x, w, None, conv_param) + 0 * b[:, None, None],
            hint="every pixel of channel f of the output gets b[f], once",
        ),
        Mistake(
            "adds the bias with every copy of a filter",
            _bias_with_every_copy,
            hint="every pixel of channel f of the output gets b[f], once, however many copies reach it",
        ),
        Mistake(
            "turns the filters upside down and left to right",
            _flipped,
            hint="w[c, f] is pasted as it is: its entry 0, 0 lands in the upper left",
        ),
        Mistake(
            "writes where it should add: copies that overlap replace each other",
            _written_over,
            hint="a pixel that several copies reach gets the sum of them",
        ),
        Mistake(
            "takes w to have shape (F, C, HH, WW)",
            lambda x, w, b, conv_param: transposed(x, w.transpose(0, 1), b, conv_param),
            hint="w has shape (C, F, HH, WW): axis 0 belongs to the input, axis 1 to the output",
        ),
        Mistake(
            "leaves output_pad out",
            changed(lambda x, w, b, conv_param: transposed(x, w, b, {**conv_param, "output_pad": 0})),
            hint="output_pad rows and columns more are kept, at the bottom and on the right",
        ),
        Mistake(
            "fills the rows and columns of output_pad with zeros",
            _extra_of_zeros,
            hint="output_pad says how much of the canvas is kept; what copies and bias put there stays",
        ),
        Mistake(
            "puts the rows and columns of output_pad at the top and on the left",
            _extra_before,
            hint="output_pad extends the bottom and the right side only",
        ),
        Mistake(
            "puts the rows and columns of output_pad on all four sides",
            changed(_extra_on_both_sides),
            hint="output_pad extends the bottom and the right side only",
        ),
        Mistake(
            "adds pad pixels on each side instead of cutting them off",
            changed(_grown_by_pad),
            hint="pad was what the convolution added to its input; here that is the output, and it is taken off again",
        ),
        Mistake(
            "does not cut off the padding",
            changed(lambda x, w, b, conv_param: transposed(x, w, b, {**conv_param, "pad": 0})),
            hint="pad rows and columns on each side of the canvas are dropped",
        ),
        Mistake(
            "leaves the stride out",
            changed(
                lambda x, w, b, conv_param: transposed(
                    x, w, b, {"stride": 1, "pad": conv_param["pad"], "output_pad": 0}
                )
            ),
            hint="two copies side by side start stride pixels apart",
        ),
        Mistake(
            "ignores the upstream gradient",
            ignoring_upstream(transposed),
            hint="every gradient holds dout",
        ),
        Mistake(
            "turns the filters round in dx",
            _dx_of(lambda x, w, b, conv_param: transposed(x, w.flip(2, 3), b, conv_param)),
            hint="pixel (u, v) of a copy was multiplied by w[c, f, u, v], and by the same number in the backward pass",
        ),
        Mistake(
            "leaves the stride out in dx",
            changed(transposed, dx=_dx_with_a_stride_of_one),
            hint="the copy of pixel (h, w) lies stride * h below the top of the canvas",
        ),
        Mistake(
            "looks at the upper left pixel of each copy only, in dx",
            changed(transposed, dx=_dx_of_one_pixel),
            hint="pixel (h, w) reaches all HH * WW pixels of its copy: sum over them",
        ),
        Mistake(
            "keeps dw of the last pixel only",
            changed(transposed, dw=_dw_of_the_last_pixel),
            hint="every pixel pasted the same filters: look at = and +=",
        ),
        Mistake(
            "turns dw upside down and left to right",
            changed(transposed, dw=lambda dw, given: dw.flip(2, 3)),
            hint="w[c, f, u, v] was pasted u rows below and v columns right of the start of each copy",
        ),
        Mistake(
            "averages dw over the images",
            changed(transposed, dw=lambda dw, given: dw / len(given["x"])),
            hint="all images use the same w and their contributions add up",
        ),
        Mistake(
            "averages db over the images",
            changed(transposed, db=lambda db, given: db / len(given["x"])),
            hint="all images use the same b and their contributions add up",
        ),
        Mistake(
            "averages db over the pixels",
            changed(transposed, db=lambda db, given: given["dout"].mean((2, 3)).sum(0)),
            hint="b[f] is added to every pixel: each contributes its upstream gradient",
        ),
        Mistake(
            "keeps one entry of db per image",
            changed(transposed, db=lambda db, given: given["dout"].sum((2, 3))),
            hint="b has shape (F,): sum over images and pixels",
        ),
    ],
)
