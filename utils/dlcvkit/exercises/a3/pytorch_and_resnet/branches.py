"""Inception, squeeze-and-excitation, depthwise separable."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Mistake, Module, normal
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import (
    answers_of,
    conv_weights,
    convolve,
    fc_weights,
    norm_weights,
    normalise,
    transform,
    use_in_both_modes,
    use_once,
)


def _identity(h):
    return h


def _pool(x, kind):
    if kind == "mean":
        return functional.avg_pool2d(x, 3, stride=1, padding=1)
    if kind == "zeros":
        return functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, stride=1)
    return x if kind == "none" else functional.max_pool2d(x, 3, stride=1, padding=1)


def _inception(
    x,
    weights,
    is_training,
    init,
    *,
    reduced=torch.relu,
    last=torch.relu,
    pool="max",
    order=(0, 1, 2, 3),
    pools_last=False,
    chains=False,
):
    """The Inception block; each keyword switches a mistake on."""
    one, three, five = (
        convolve(x, weights, "one"),
        convolve(reduced(convolve(x, weights, "three_reduce")), weights, "three"),
        convolve(reduced(convolve(x, weights, "five_reduce")), weights, "five"),
    )
    if pools_last:
        fourth = _pool(convolve(x, weights, "pool_project"), pool)
    else:
        fourth = convolve(_pool(x, pool), weights, "pool_project")
    branches = [last(one), last(three), last(five), last(fourth)]
    if chains:
        branches[3] = fourth
    return torch.cat([branches[place] for place in order], 1)


def _of_inception(**flags):
    return answers_of(_inception, is_modal=False, **flags)


def inception_case(name, N, channels, sizes, filters, std=1.0):
    """Describe a case of the Inception block; ``filters`` are (c1, r3, c3, r5, c5, cp)."""
    names = ("c1", "r3", "c3", "r5", "c5", "cp")
    c1, r3, c3, r5, c5, cp = filters
    params = {
        **conv_weights("one", c1, channels, 1, bias=True),
        **conv_weights("three_reduce", r3, channels, 1, bias=True),
        **conv_weights("three", c3, r3, 3, bias=True),
        **conv_weights("five_reduce", r5, channels, 1, bias=True),
        **conv_weights("five", c5, r5, 5, bias=True),
        **conv_weights("pool_project", cp, channels, 1, bias=True),
    }
    init = {"in_channels": channels, **dict(zip(names, filters, strict=True))}
    return Case(name, init=init, params=params, x=normal(N, channels, *sizes, std=std))


inception_block = Module(
    functions=("InceptionBlock",),
    reference=_of_inception(),
    call=use_once,
    cases=[
        inception_case("all widths different", 2, 4, (6, 7), (3, 2, 5, 1, 4, 6)),
        inception_case("all widths equal", 2, 3, (5, 4), (3, 3, 3, 3, 3, 3)),
    ],
    points={"out": 3, "gradients": 1},
    mistakes=[
        Mistake(
            "leaves the ReLU after the reducing convolutions out",
            _of_inception(reduced=_identity),
            hint="a ReLU follows every convolution, the reducing ones included",
        ),
        Mistake(
            "leaves the ReLU at the end of the branches out",
            _of_inception(last=_identity),
            hint="a ReLU follows every convolution, the last of each branch included",
        ),
        Mistake(
            "leaves all ReLUs out",
            _of_inception(reduced=_identity, last=_identity),
            hint="a ReLU follows every convolution",
        ),
        Mistake(
            "leaves the ReLU after pool_project out",
            _of_inception(chains=True),
            hint="a ReLU follows every convolution, that of the pooling branch included",
        ),
        Mistake(
            "pools with the mean",
            _of_inception(pool="mean"),
            hint="the fourth branch takes maxima",
        ),
        Mistake(
            "pads with zeros before it takes maxima",
            _of_inception(pool="zeros"),
            hint="F.max_pool2d has a padding of its own, whose entries never win; a zero wins among negative numbers",
        ),
        Mistake(
            "leaves the pooling out",
            _of_inception(pool="none"),
            hint="look at the fourth row of the table",
        ),
        Mistake(
            "pools after the 1×1 convolution",
            _of_inception(pools_last=True),
            hint="the pooling comes first in its branch",
        ),
        Mistake(
            "exchanges the branches of 3×3 and 5×5",
            _of_inception(order=(0, 2, 1, 3)),
            hint="the branches stand in the order of the table",
        ),
        Mistake(
            "puts the pooling branch first",
            _of_inception(order=(3, 0, 1, 2)),
            hint="the branches stand in the order of the table",
        ),
    ],
)


def _squeeze(
    x,
    weights,
    is_training,
    init,
    *,
    squeeze=lambda flat: flat.mean(2),
    between=torch.relu,
    gate=torch.sigmoid,
    use=lambda x, g: x * g,
):
    """Squeeze and excitation; each keyword exchanges a part."""
    h = transform(between(transform(squeeze(x.flatten(2)), weights, "fc1")), weights, "fc2")
    return use(x, gate(h).reshape(*h.shape, 1, 1))


def _of_squeeze(**flags):
    return answers_of(_squeeze, is_modal=False, **flags)


def squeeze_case(name, N, channels, sizes, reduction, units, std=1.0, mean=0.5):
    """Describe a case of squeeze-and-excitation with so many units in between."""
    params = fc_weights("fc1", units, channels) | fc_weights("fc2", channels, units)
    init = {"channels": channels, "reduction": reduction}
    return Case(name, init=init, params=params, x=normal(N, channels, *sizes, std=std, mean=mean))


squeeze_excite = Module(
    functions=("SqueezeExcite",),
    reference=_of_squeeze(),
    call=use_once,
    cases=[
        squeeze_case("9 channels, reduction 2", 3, 9, (4, 5), 2, 4),
        squeeze_case("fewer channels than the reduction", 2, 3, (3, 6), 4, 1),
    ],
    points={"out": 2, "gradients": 1},
    mistakes=[
        Mistake("leaves the ReLU out", _of_squeeze(between=_identity), hint="what stands between fc1 and fc2?"),
        Mistake(
            "leaves the sigmoid out",
            _of_squeeze(gate=_identity),
            hint="the factors lie between 0 and 1",
        ),
        Mistake(
            "puts a sigmoid between the affine layers as well",
            _of_squeeze(between=torch.sigmoid),
            hint="ReLU stands between the affine layers; the sigmoid comes once, at the end",
        ),
        Mistake(
            "takes softmax over the channels",
            _of_squeeze(gate=lambda h: h.softmax(1)),
            hint="the channels do not compete: each factor is a sigmoid of its own",
        ),
        Mistake("takes tanh for the gate", _of_squeeze(gate=torch.tanh), hint="the factors lie between 0 and 1"),
        Mistake(
            "adds the pixels up instead of averaging them",
            _of_squeeze(squeeze=lambda flat: flat.sum(2)),
            hint="z is a mean over the pixels",
        ),
        Mistake(
            "squeezes with the maximum",
            _of_squeeze(squeeze=lambda flat: flat.amax(2)),
            hint="z is a mean over the pixels",
        ),
        Mistake(
            "returns the factors instead of the scaled input",
            _of_squeeze(use=lambda x, g: g.expand_as(x)),
            hint="each channel of x is multiplied by its factor",
        ),
        Mistake(
            "adds the factors instead of multiplying",
            _of_squeeze(use=lambda x, g: x + g),
            hint="each channel of x is multiplied by its factor",
        ),
        Mistake(
            "adds the scaled input to the input",
            _of_squeeze(use=lambda x, g: x + x * g),
            hint="there is no shortcut in this module; a factor of 0 shuts a channel",
        ),
        Mistake(
            "takes one factor for all images",
            _of_squeeze(use=lambda x, g: x * g.mean(0)),
            hint="the factors have shape (N, C): every image decides for itself",
        ),
    ],
)


def _separable(
    x,
    weights,
    is_training,
    init,
    *,
    without_first_relu=False,
    without_last_relu=False,
    without_first_norm=False,
    without_last_norm=False,
    late_stride=False,
    norm_last=False,
    always_batch=False,
    never_batch=False,
):
    """The depthwise separable block; each keyword switches a mistake on."""
    is_training = (is_training or always_batch) and not never_batch
    s = init.get("stride", 1)
    h = convolve(x, weights, "depthwise", 1 if late_stride else s, groups=x.shape[1])
    h = h.relu() if norm_last else h
    h = h if without_first_norm else normalise(h, weights, "bn1", is_training)
    h = h if without_first_relu or norm_last else h.relu()
    h = convolve(h, weights, "pointwise", s if late_stride else 1)
    h = h.relu() if norm_last else h
    h = h if without_last_norm else normalise(h, weights, "bn2", is_training)
    return h if without_last_relu or norm_last else h.relu()


def _of_separable(**flags):
    return answers_of(_separable, **flags)


def separable_case(name, N, channels, sizes, width, stride, std=1.0):
    """Describe a case of the depthwise separable block."""
    params = {
        **conv_weights("depthwise", channels, 1, 3),
        **norm_weights("bn1", channels),
        **conv_weights("pointwise", width, channels, 1),
        **norm_weights("bn2", width),
    }
    init = {"in_channels": channels, "width": width, "stride": stride}
    return Case(name, init=init, params=params, x=normal(N, channels, *sizes, std=std))


depthwise_separable_block = Module(
    functions=("DepthwiseSeparableBlock",),
    reference=_of_separable(),
    call=use_in_both_modes,
    cases=[
        separable_case("stride 1", 2, 3, (4, 5), 4, 1),
        separable_case("stride 2, odd sizes", 3, 4, (7, 5), 6, 2),
    ],
    points={"evaluation": 1, "training": 2, "gradients": 1},
    mistakes=[
        Mistake(
            "leaves the first ReLU out",
            _of_separable(without_first_relu=True),
            hint="each of the two convolutions is followed by batch norm and ReLU",
        ),
        Mistake(
            "leaves the last ReLU out",
            _of_separable(without_last_relu=True),
            hint="each of the two convolutions is followed by batch norm and ReLU",
        ),
        Mistake(
            "leaves bn1 out",
            _of_separable(without_first_norm=True),
            hint="each of the two convolutions is followed by batch norm and ReLU",
        ),
        Mistake(
            "leaves bn2 out",
            _of_separable(without_last_norm=True),
            hint="each of the two convolutions is followed by batch norm and ReLU",
        ),
        Mistake(
            "puts ReLU in front of batch norm",
            _of_separable(norm_last=True),
            hint="the order is convolution, batch norm, ReLU",
        ),
        Mistake(
            "gives the stride to the pointwise convolution",
            _of_separable(late_stride=True),
            hint="the depthwise convolution carries the stride; bn1 then sees fewer pixels",
        ),
        Mistake(
            "uses the batch's statistics in evaluation mode too",
            _of_separable(always_batch=True),
            hint="nn.BatchNorm2d knows its mode by itself, as long as it is an attribute of the module",
        ),
        Mistake(
            "uses the running statistics in training mode too",
            _of_separable(never_batch=True),
            hint="nn.BatchNorm2d knows its mode by itself: nothing in the block has to switch it",
        ),
    ],
)
