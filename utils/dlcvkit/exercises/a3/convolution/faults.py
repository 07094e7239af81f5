"""Convolution by torch, and ways to spoil it; for the modules beside this one."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dlcvkit.checking import Case, Finding, Interrupted, Kind, Mistake, normal


def torch_settings(conv_param, **changes):
    """The settings in torch's words, with some of them changed."""
    given = {**conv_param, **changes}
    return {"padding" if name == "pad" else name: value for name, value in given.items()}


def conv(x, w, b, conv_param):
    return functional.conv2d(x, w, b, **torch_settings(conv_param))


def with_settings(**changes):
    """The output for settings that differ from those asked for; its gradients would not fit the upstream one."""

    def variant(x, w, b, conv_param, dout):
        out = functional.conv2d(x, w, b, **torch_settings(conv_param, **changes))
        return out, *(x.new_empty(0) for _ in range(3))

    return variant


def changed(layer, **changes):
    """A layer whose quantities are right but for those that are changed, ``dw=lambda dw, given: ...``."""

    def variant(dout, **inputs):
        variables = {
            name: value.detach().clone().requires_grad_()
            for name, value in inputs.items()
            if isinstance(value, torch.Tensor)
        }
        with torch.enable_grad():
            out = layer(**{**inputs, **variables})
            gradients = torch.autograd.grad(out, list(variables.values()), dout)
        right = {"out": out.detach(), **{f"d{name}": g for name, g in zip(variables, gradients, strict=True)}}
        given = {**inputs, "dout": dout}
        return tuple(changes[name](value, given) if name in changes else value for name, value in right.items())

    return variant


def with_upstream(layer, change):
    """The layer with right outputs, and gradients for an upstream gradient that is changed."""

    def variant(dout, **inputs):
        return changed(layer)(dout=change(dout), **inputs)

    return variant


def overwritten(dx, given):
    """The gradient of x if each window's share replaces what was there before, in the order of the loops."""
    x, w, dout, settings = given["x"], given["w"], given["dout"], given["conv_param"]
    stride, pad = settings.get("stride", 1), settings.get("pad", 0)
    dilation, groups = settings.get("dilation", 1), settings.get("groups", 1)
    depth, high, wide = w.shape[1:]
    canvas = functional.pad(torch.zeros_like(dx), (pad, pad, pad, pad))
    for f in range(len(w)):
        start = f * groups // len(w) * depth
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                share = dout[:, f, i, j, None, None, None] * w[f]
                top, left = i * stride, j * stride
                place = canvas[:, start : start + depth, top:, left:]
                place[:, :, : dilation * high : dilation, : dilation * wide : dilation] = share
    return canvas[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]


def cut_at_the_corner(dx, given):
    """The gradient of the padded x, cut to the size of x from its first row and column on."""
    return _padded_gradient(given)[:, :, : dx.shape[2], : dx.shape[3]]


def of_the_last_image(dw, given):
    """The gradient of w that the last image alone gives."""
    variable = given["w"].detach().clone().requires_grad_()
    with torch.enable_grad():
        out = conv(given["x"][-1:], variable, None, given["conv_param"])
        (gradient,) = torch.autograd.grad(out, variable, given["dout"][-1:])
    return gradient


def left_padded(dx, given):
    """The gradient of the padded x as it is."""
    return _padded_gradient(given)


def _padded_gradient(given):
    pad = given["conv_param"].get("pad", 0)
    variable = functional.pad(given["x"], (pad, pad, pad, pad)).detach().requires_grad_()
    with torch.enable_grad():
        out = functional.conv2d(variable, given["w"], None, **torch_settings(given["conv_param"], pad=0))
        (gradient,) = torch.autograd.grad(out, variable, given["dout"])
    return gradient


def _on_one_side(x, w, b, conv_param):
    pad = conv_param.get("pad", 0)
    return functional.conv2d(functional.pad(x, (0, 2 * pad, 0, 2 * pad)), w, b, **torch_settings(conv_param, pad=0))


def _on_the_edge_values(x, w, b, conv_param):
    pad = conv_param.get("pad", 0)
    wide = functional.pad(x, (pad, pad, pad, pad), mode="replicate")
    return functional.conv2d(wide, w, b, **torch_settings(conv_param, pad=0))


def _first_group_only(x, w, b, conv_param):
    first = x[:, : w.shape[1]].repeat(1, conv_param.get("groups", 1), 1, 1)
    return conv(first, w, b, conv_param)


def _every_other_channel(x, w, b, conv_param):
    mixed = x.unflatten(1, (w.shape[1], -1)).transpose(1, 2).flatten(1, 2)
    return conv(mixed, w, b, conv_param)


OUTPUT_MISTAKES = [
    Mistake(
        "leaves the bias out",
        lambda x, w, b, conv_param: conv(x, w, None, conv_param),
        hint="every place of filter f gets b[f] added",
    ),
    Mistake(
        "turns the kernel round",
        lambda x, w, b, conv_param: conv(x, w.flip(2, 3), b, conv_param),
        hint="entry (p, q) of the kernel meets the pixel p rows below and q columns right of the window's corner",
    ),
    Mistake(
        "averages over the window instead of adding up",
        lambda x, w, b, conv_param: conv(x, w / w[0].numel(), b, conv_param),
        hint="an output is a sum over the window, nothing is divided",
    ),
    Mistake(
        "adds the bias once for every entry of the window",
        lambda x, w, b, conv_param: conv(x, w, b * w[0].numel(), conv_param),
        hint="add up the products first, then add the bias once",
    ),
    Mistake("ignores the padding", with_settings(pad=0), hint="add pad rows and columns of zeros on every side first"),
    Mistake("ignores the stride", with_settings(stride=1), hint="neighbouring outputs lie stride pixels apart in x"),
    Mistake(
        "ignores the dilation",
        with_settings(dilation=1),
        hint="neighbouring entries of the kernel meet pixels that lie dilation apart",
    ),
    Mistake(
        "pads at the bottom and on the right only",
        _on_one_side,
        hint="pad counts the rows and columns added on each of the four sides",
    ),
    Mistake("repeats the pixels of the edge as padding", _on_the_edge_values, hint="the padding is zeros"),
    Mistake(
        "shows every filter the channels of the first group",
        _first_group_only,
        hint="filters and channels are cut into the same number of groups; filter f sees the channels of its own group",
    ),
    Mistake(
        "deals the channels out in turn instead of in blocks",
        _every_other_channel,
        hint="the first C / groups channels make the first group, the next C / groups the second",
    ),
]

GRADIENT_MISTAKES = [
    Mistake(
        "overwrites the gradient where windows overlap",
        changed(conv, dx=overwritten),
        hint="a pixel belongs to several windows and filters, and each one's share is added: look at = and +=",
    ),
    Mistake(
        "returns the gradient of the padded image",
        changed(conv, dx=left_padded),
        hint="dx has the shape of x: what belongs to the padding is cut off",
    ),
    Mistake(
        "cuts the padding off at the wrong end",
        changed(conv, dx=cut_at_the_corner),
        hint="there are pad rows above the image as well: where in the padded image does x begin?",
    ),
    Mistake(
        "turns dw round",
        changed(conv, dw=lambda dw, given: dw.flip(2, 3)),
        hint="the entry of dw at (p, q) adds up the pixels that w[:, :, p, q] was multiplied with",
    ),
    Mistake(
        "averages dw over the images",
        changed(conv, dw=lambda dw, given: dw / len(given["x"])),
        hint="all images use the same kernel and their contributions add up; the loss has averaged already",
    ),
    Mistake(
        "takes dw from the last image only",
        changed(conv, dw=of_the_last_image),
        hint="dw adds up over all images and places: look at = and +=",
    ),
    Mistake(
        "averages db over images and places",
        changed(conv, db=lambda db, given: given["dout"].mean((0, 2, 3))),
        hint="b[f] enters every output of filter f with factor 1, and what they are told adds up",
    ),
    Mistake(
        "adds db up over the images only",
        changed(conv, db=lambda db, given: given["dout"].sum(0)),
        hint="b has shape (F,): which axes of dout have to disappear?",
    ),
    Mistake(
        "takes db from the first image",
        changed(conv, db=lambda db, given: given["dout"][0].sum((1, 2))),
        hint="db adds up over all images and places",
    ),
    Mistake(
        "ignores the upstream gradient",
        with_upstream(conv, torch.ones_like),
        hint="every gradient holds dout: what comes after this layer says how much each output matters",
    ),
]


class _Counter(TorchFunctionMode):
    """Context that counts how often torch is called."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def with_few_calls(name, limit, places, task):
    """Do a task that may call torch ``limit`` times, which rules out a loop over all places of the window.

    Args:
        name: What is being done, for the message.
        limit: Largest number of calls.
        places: Places of the window, for the message.
        task: Called without arguments.

    Raises:
        Interrupted: With the finding, if torch is called more often.
    """
    with _Counter() as counter:
        result = task()
    if counter.count > limit >= 0:
        text = f"{name} calls torch {counter.count} times where the window has {places} places; expected no loop"
        hint = "loop over the HH * WW entries of the window at most: one slice holds what an entry meets everywhere"
        raise Interrupted(Finding(Kind.LOOP, f"{text} over places or images", hint=hint))
    return result


PUBLIC_CASES = [
    Case(
        "two images of 3×5×4, padded",
        x=normal(2, 3, 5, 4),
        w=normal(2, 3, 3, 2),
        b=normal(2),
        conv_param={"stride": 1, "pad": 1},
        dout=normal(2, 2, 5, 5),
    ),
    Case(
        "a stride that leaves pixels over",
        x=normal(2, 2, 6, 7),
        w=normal(3, 2, 3, 2),
        b=normal(3),
        conv_param={"stride": 2},
        dout=normal(2, 3, 2, 3),
    ),
    Case(
        "dilation and two groups",
        x=normal(2, 4, 5, 6),
        w=normal(4, 2, 2, 3),
        b=normal(4),
        conv_param={"dilation": 2, "groups": 2},
        dout=normal(2, 4, 3, 2),
    ),
]
"""For convolution by definition and as a matrix product alike."""
