"""Builders of nets: parameters are counted, filled with given numbers in order, and the net is used."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Finding, Function, Interrupted, Kind, Mistake, normal
from dlcvkit.exercises.a4.gans.noise import kind_text


def fill(shapes, table):
    """Return one tensor per shape, made of the numbers in ``table`` (a vector) again and again.

    Matrices and kernels are scaled to keep numbers in size; vectors after a kernel's bias scale and shift.
    """
    made = []
    for number, shape in enumerate(shapes):
        count = torch.Size(shape).numel()
        scale = 2.0 / (count / shape[0]) ** 0.5 if len(shape) > 1 else 0.3
        turned = scale * table.roll(13 * number)
        made.append(turned.repeat(count // len(table) + 1)[:count].reshape(shape))
    return made


def use_net(name, expected, build, init, table, x, *, used=False):
    """Return the number of parameters of a net, what comes out of it, and, if ``used``, what comes out in eval mode.

    Args:
        name: The builder's name, for messages.
        expected: The shapes of the parameters in order.
        build: The builder, called with the settings of ``init``.
        init: The settings.
        table: Numbers that the parameters are filled with.
        x: What the net is given.
        used: Whether the net is put into eval mode and tried once more.

    Raises:
        Interrupted: If it is no module, has other parameters or fails; it holds what came before.
    """
    lost = ["out", "in use"] if used else ["out"]
    net = build(**init)
    if not isinstance(net, torch.nn.Module):
        raise Interrupted(Finding(Kind.STRUCTURE, f"{name} returned {kind_text(net)}; expected a torch.nn.Module"))
    parameters = list(net.parameters())
    count = sum(parameter.numel() for parameter in parameters)
    got = [tuple(p.shape) for p in parameters]
    if got != expected:
        text = f"the parameters of the net have the shapes {_listed(got)}; expected {_listed(expected)}"
        raise Interrupted(Finding(Kind.STRUCTURE, text), (count, *[None] * len(lost)), lost)
    net.to(dtype=x.dtype, device=x.device)
    for parameter, values in zip(parameters, fill(expected, table), strict=True):
        parameter.data = values
    try:
        results = [net(x)]
        if used:
            net.eval()
            results.append(net(x))
    except Exception as error:
        raise Interrupted(error, (count, *[None] * len(lost)), lost) from error
    return (count, *results)


def _listed(shapes):
    return ", ".join(str(shape).replace(" ", "") for shape in shapes) or "none"


def net_reference(shapes_of, forward, *, used=False):
    """A reference or variant: ``forward(x, weights, state)`` with weights in order; ``state`` is None in training."""

    def run(init, table, x):
        shapes = shapes_of(**init)
        weights = fill(shapes, table)
        count = sum(torch.Size(shape).numel() for shape in shapes)
        with torch.no_grad():
            if not used:
                return count, forward(x, weights)
            state = {}
            return count, forward(x, weights, state, True), forward(x, weights, state, False)

    return run


def _affine_shapes(*sizes):
    return [shape for one, other in pairwise(sizes) for shape in ((other, one), (other,))]


def _affine(x, weights, between, last=lambda x: x):
    for number in range(0, len(weights), 2):
        x = functional.linear(x, weights[number], weights[number + 1])
        x = last(x) if number == len(weights) - 2 else between(x)
    return x


def leaky(slope):
    return lambda x: functional.leaky_relu(x, slope)


def unchanged(x):
    return x


# The fully-connected pair.


def _d_shapes(hidden_dim=256):
    return _affine_shapes(784, hidden_dim, hidden_dim, 1)


def _d(slope=0.01, last=unchanged, shapes=_d_shapes):
    return net_reference(shapes, lambda x, weights: _affine(x.flatten(1), weights, leaky(slope), last))


_COUNT_HINT = "count layer by layer: inputs times outputs, plus one bias per output; compare with the table"


def _use_discriminator(discriminator, init, table, x):
    return use_net("discriminator", _d_shapes(**init), discriminator, init, table, x)


discriminator = Function(
    functions=("discriminator",),
    reference=_d(),
    call=_use_discriminator,
    cases=[
        # The small net comes first, because the first case is run twice.
        Case("hidden_dim 7", init={"hidden_dim": 7}, table=normal(997), x=normal(5, 1, 28, 28)),
        Case("hidden_dim 256", init={}, table=normal(997), x=normal(3, 1, 28, 28)).float32(),
    ],
    points={"parameters": 1, "out": 2},
    mistakes=[
        Mistake(
            "has a slope of 0.2 instead of 0.01",
            _d(0.2),
            hint="look at the slope of the leaky ReLU for negative numbers in the table of layers",
        ),
        Mistake("has ReLU instead of leaky ReLU", _d(0.0), hint="negative numbers keep a small slope"),
        Mistake("has no function between its layers", _d(1.0), hint="a leaky ReLU follows each hidden layer"),
        Mistake(
            "ends in a sigmoid",
            _d(last=torch.sigmoid),
            hint="the losses take logits: nothing comes after the last layer",
        ),
        Mistake(
            "ends in a leaky ReLU",
            _d(last=leaky(0.01)),
            hint="a logit may be any number: nothing comes after the last layer",
        ),
        Mistake(
            "lacks a hidden layer",
            _d(shapes=lambda hidden_dim=256: _affine_shapes(784, hidden_dim, 1)),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "ignores hidden_dim",
            _d(shapes=lambda hidden_dim=256: _d_shapes()),
            hint="the builder's argument says how large the hidden layers are",
        ),
        Mistake(
            "has a hidden layer too many",
            _d(shapes=lambda hidden_dim=256: _affine_shapes(784, hidden_dim, hidden_dim, hidden_dim, 1)),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "gives two numbers per image",
            _d(shapes=lambda hidden_dim=256: _affine_shapes(784, hidden_dim, hidden_dim, 2)),
            hint="one logit per image is wanted",
        ),
        Mistake(
            "drops the axis of length 1",
            net_reference(_d_shapes, lambda x, weights: _affine(x.flatten(1), weights, leaky(0.01))[:, 0]),
            hint="the logits have shape (N, 1)",
        ),
    ],
)


def _g_shapes(noise_dim=96, hidden_dim=1024):
    return _affine_shapes(noise_dim, hidden_dim, hidden_dim, 784)


def _as_images(x):
    return x.reshape(-1, 1, 28, 28)


def _g(between=functional.relu, last=torch.tanh, shapes=_g_shapes, shape=_as_images):
    return net_reference(shapes, lambda x, weights: shape(_affine(x, weights, between, last)))


def _use_generator(generator, init, table, x):
    return use_net("generator", _g_shapes(**init), generator, init, table, x)


generator = Function(
    functions=("generator",),
    reference=_g(),
    call=_use_generator,
    cases=[
        Case(
            "noise of 5, hidden_dim 11",
            init={"noise_dim": 5, "hidden_dim": 11},
            table=normal(997, std=0.5),
            x=normal(3, 5),
        ),
        Case("noise of 96, hidden_dim 1024", init={}, table=normal(997, std=0.5), x=normal(2, 96)).float32(),
    ],
    points={"parameters": 1, "out": 2},
    mistakes=[
        Mistake("leaves tanh out", _g(last=lambda x: x), hint="pixels lie between -1 and 1: what sees to that?"),
        Mistake(
            "ends in a sigmoid instead of tanh",
            _g(last=torch.sigmoid),
            hint="pixels lie between -1 and 1, not between 0 and 1",
        ),
        Mistake("has no function between its layers", _g(lambda x: x), hint="ReLU follows each hidden layer"),
        Mistake("has leaky ReLU instead of ReLU", _g(leaky(0.01)), hint="only the discriminator has leaky ReLU"),
        Mistake("has tanh after every layer", _g(torch.tanh), hint="ReLU follows each hidden layer, tanh the last one"),
        Mistake(
            "returns flat images",
            _g(shape=lambda x: x),
            hint="the images have shape (N, 1, 28, 28): a layer at the end gives them their axes",
        ),
        Mistake(
            "returns images without a channel",
            _g(shape=lambda x: x.reshape(-1, 28, 28)),
            hint="the images have shape (N, 1, 28, 28), with one channel",
        ),
        Mistake(
            "lacks a hidden layer",
            _g(shapes=lambda noise_dim=96, hidden_dim=1024: _affine_shapes(noise_dim, hidden_dim, 784)),
            hint=_COUNT_HINT,
        ),
        Mistake(
            "ignores hidden_dim",
            _g(shapes=lambda noise_dim=96, hidden_dim=1024: _g_shapes(noise_dim)),
            hint="the builder's arguments say how large the layers are",
        ),
        Mistake(
            "ends in ReLU",
            _g(last=functional.relu),
            hint="pixels lie between -1 and 1: what sees to that?",
        ),
    ],
)
