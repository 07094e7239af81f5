"""The convolutional pair: strided convolutions one way, transposed ones the other."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, normal
from dlcvkit.exercises.a4.gans.builders import leaky, net_reference, unchanged, use_net


def normalised(x, weights, state, is_training, name):
    """Batch normalisation with running statistics kept in ``state`` under ``name``; none if ``state`` is None."""
    if state is None:
        return x
    running = state.setdefault(name, (x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])))
    return functional.batch_norm(x, *running, *weights, training=is_training)


def _d_shapes(channels=16):
    c = channels
    return [(c, 1, 4, 4), (c,), (2 * c, c, 4, 4), (2 * c,), (2 * c,), (2 * c,), (1, 98 * c), (1,)]


def _d_forward(x, weights, state, is_training, *, slope=0.2, last=unchanged, norm=normalised, late=False):
    between = leaky(slope)
    x = between(functional.conv2d(x, *weights[:2], stride=2, padding=1))
    x = functional.conv2d(x, *weights[2:4], stride=2, padding=1)
    if late:
        x = norm(between(x), weights[4:6], state, is_training, "second")
    else:
        x = between(norm(x, weights[4:6], state, is_training, "second"))
    return last(functional.linear(x.flatten(1), *weights[6:]))


def _d(shapes=_d_shapes, **changes):
    return net_reference(shapes, partial(_d_forward, **changes), used=True)


def _never_used(x, weights, state, is_training, name):
    """Normalised by the batch in eval mode as well."""
    return normalised(x, weights, state, True, name)


def _d_normalised_twice(channels=16):
    shapes = _d_shapes(channels)
    return [*shapes[:2], (channels,), (channels,), *shapes[2:]]


def _d_forward_of_two(x, weights, state, is_training):
    x = functional.conv2d(x, *weights[:2], stride=2, padding=1)
    x = leaky(0.2)(normalised(x, weights[2:4], state, is_training, "first"))
    x = functional.conv2d(x, *weights[4:6], stride=2, padding=1)
    x = leaky(0.2)(normalised(x, weights[6:8], state, is_training, "second"))
    return functional.linear(x.flatten(1), *weights[8:])


def _without(shapes, *places):
    return lambda **init: [shape for number, shape in enumerate(shapes(**init)) if number not in places]


def _by_kernel(shapes, old, new):
    return lambda **init: [tuple(new if n == old and i > 1 else n for i, n in enumerate(s)) for s in shapes(**init)]


def _nothing(x, weights, state, is_training):
    """For mistakes that are known by their number of parameters."""
    return torch.zeros(len(x), 1, dtype=x.dtype, device=x.device)


_COUNT_HINT = "go through the table of layers: kernel, channels in and out, a bias each, and what is normalised"
_NORM_HINT = "in both nets, batch normalisation stands between a layer and the function that follows it"


def _use_dc_discriminator(dc_discriminator, init, table, x):
    return use_net("dc_discriminator", _d_shapes(**init), dc_discriminator, init, table, x, used=True)


dc_discriminator = Function(
    functions=("dc_discriminator",),
    reference=_d(),
    call=_use_dc_discriminator,
    cases=[
        Case("3 channels", init={"channels": 3}, table=normal(997), x=normal(4, 1, 28, 28)),
        Case("16 channels", init={}, table=normal(997), x=normal(3, 1, 28, 28)).float32(),
    ],
    points={"parameters": 1, "out": 2, "in use": 1},
    mistakes=[
        Mistake("has a slope of 0.01 instead of 0.2", _d(slope=0.01), hint="look at the slope in the table"),
        Mistake("has ReLU instead of leaky ReLU", _d(slope=0.0), hint="negative numbers keep a small slope"),
        Mistake("ends in a sigmoid", _d(last=torch.sigmoid), hint="the losses take logits: nothing comes last"),
        Mistake("normalises after the leaky ReLU", _d(late=True), hint=_NORM_HINT),
        Mistake(
            "normalises by the batch in eval mode as well",
            _d(norm=_never_used),
            hint="in eval mode the running statistics count: let the layer keep them",
        ),
        Mistake(
            "leaves batch normalisation out",
            net_reference(_without(_d_shapes, 4, 5), _nothing, used=True),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "normalises the first layer as well",
            net_reference(_d_normalised_twice, _d_forward_of_two, used=True),
            hint="the first layer sees the images as they are: only the second one is normalised",
        ),
        Mistake(
            "has kernels of 3×3",
            net_reference(_by_kernel(_d_shapes, 4, 3), _nothing, used=True),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "has kernels of 5×5",
            net_reference(_by_kernel(_d_shapes, 4, 5), _nothing, used=True),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "does not double the channels",
            net_reference(
                lambda channels=16: [
                    tuple(channels if n == 2 * channels else 49 * channels if n == 98 * channels else n for n in shape)
                    for shape in _d_shapes(channels)
                ],
                _nothing,
                used=True,
            ),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "ignores channels",
            net_reference(lambda channels=16: _d_shapes(), _nothing, used=True),
            hint="the builder's argument says how many channels there are",
        ),
        Mistake(
            "leaves the biases of convolutions out",
            net_reference(_without(_d_shapes, 1, 3), _nothing, used=True),
            hint=_COUNT_HINT,
        ),
    ],
)


def _g_shapes(noise_dim=96, channels=16):
    c = channels
    first = [(98 * c, noise_dim), (98 * c,), (2 * c,), (2 * c,)]
    return [*first, (2 * c, c, 4, 4), (c,), (c,), (c,), (c, 1, 4, 4), (1,)]


def _g_forward(
    x,
    weights,
    state,
    is_training,
    *,
    between=functional.relu,
    last=torch.tanh,
    norm=normalised,
    late=False,
    arrange=lambda x: x.reshape(len(x), -1, 7, 7),
):
    def step(x, place):
        if late:
            return norm(between(x), weights[place : place + 2], state, is_training, place)
        return between(norm(x, weights[place : place + 2], state, is_training, place))

    x = step(arrange(functional.linear(x, *weights[:2])), 2)
    x = step(functional.conv_transpose2d(x, *weights[4:6], stride=2, padding=1), 6)
    return last(functional.conv_transpose2d(x, *weights[8:], stride=2, padding=1))


def _g(shapes=_g_shapes, **changes):
    return net_reference(shapes, partial(_g_forward, **changes), used=True)


def _no_images(x, weights, state, is_training):
    return torch.zeros(len(x), 1, 28, 28, dtype=x.dtype, device=x.device)


def _normalised_flat(noise_dim=96, channels=16):
    shapes = _g_shapes(noise_dim, channels)
    return [*shapes[:2], (98 * channels,), (98 * channels,), *shapes[4:]]


def _use_dc_generator(dc_generator, init, table, x):
    return use_net("dc_generator", _g_shapes(**init), dc_generator, init, table, x, used=True)


dc_generator = Function(
    functions=("dc_generator",),
    reference=_g(),
    call=_use_dc_generator,
    cases=[
        Case("noise of 5, 3 channels", init={"noise_dim": 5, "channels": 3}, table=normal(997), x=normal(4, 5)),
        Case("noise of 96, 16 channels", init={}, table=normal(997), x=normal(3, 96)).float32(),
    ],
    points={"parameters": 1, "out": 2, "in use": 1},
    mistakes=[
        Mistake("leaves tanh out", _g(last=lambda x: x), hint="pixels lie between -1 and 1: what sees to that?"),
        Mistake(
            "ends in a sigmoid instead of tanh",
            _g(last=torch.sigmoid),
            hint="pixels lie between -1 and 1, not between 0 and 1",
        ),
        Mistake("has leaky ReLU instead of ReLU", _g(between=leaky(0.2)), hint="only the discriminator has leaky ReLU"),
        Mistake("has no ReLU", _g(between=lambda x: x), hint="ReLU follows each normalisation"),
        Mistake("normalises after ReLU", _g(late=True), hint=_NORM_HINT),
        Mistake(
            "normalises by the batch in eval mode as well",
            _g(norm=_never_used),
            hint="in eval mode the running statistics count: let the layer keep them",
        ),
        Mistake(
            "puts the channels last when it makes images of the first layer's numbers",
            _g(arrange=lambda x: x.reshape(len(x), 7, 7, -1).movedim(3, 1)),
            hint="the first layer's numbers are taken channel by channel, in the order (C, H, W)",
        ),
        Mistake(
            "leaves batch normalisation out",
            net_reference(_without(_g_shapes, 2, 3, 6, 7), _no_images, used=True),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "normalises before the numbers have channels",
            net_reference(_normalised_flat, _no_images, used=True),
            hint="one scale and shift per channel: first the axes, then the normalisation",
        ),
        Mistake(
            "ignores channels",
            net_reference(lambda noise_dim=96, channels=16: _g_shapes(noise_dim), _no_images, used=True),
            hint="the builder's arguments say how large the layers are",
        ),
        Mistake(
            "normalises the first layer only",
            net_reference(_without(_g_shapes, 6, 7), _no_images, used=True),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "has kernels of 3×3",
            net_reference(_by_kernel(_g_shapes, 4, 3), _no_images, used=True),
            hint=_COUNT_HINT,
        ),
    ],
)
