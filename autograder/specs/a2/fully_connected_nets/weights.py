"""First weights of a net of any depth, spoilt in many ways."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, given


def make_params(
    input_dim,
    hidden_dims,
    num_classes,
    normalization,
    weight_scale,
    generator,
    *,
    std=lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    transposed=False,
    norm_at_end=False,
    always_norm=False,
    bias=0.0,
    gamma=1.0,
    from_zero=False,
    draw=torch.randn,
    one_generator_each=False,
    ignores_scale=False,
    dtype=torch.float32,
    named_for_all=False,
):
    """Build weights; each keyword switches a mistake on."""
    dims, params, device = [input_dim, *hidden_dims, num_classes], {}, generator.device
    for index in range(len(dims) - 1):
        number, (fan_in, fan_out) = index if from_zero else index + 1, dims[index : index + 2]
        source = torch.Generator(device=device).manual_seed(0) if one_generator_each else generator
        size = std(fan_in, fan_out) if weight_scale is None or ignores_scale else weight_scale
        shape = (fan_out, fan_in) if transposed else (fan_in, fan_out)
        params[f"W{number}"] = (size * draw(shape, generator=source, device=device)).to(dtype)
        params[f"b{number}"] = torch.full((fan_out,), bias, device=device, dtype=dtype)
        is_normed = normalization is not None or always_norm
        if is_normed and (norm_at_end or index < len(hidden_dims)):
            width = fan_in if named_for_all else fan_out
            params[f"gamma{number}"] = torch.full((width,), gamma, device=device, dtype=dtype)
            params[f"beta{number}"] = torch.zeros(width, device=device, dtype=dtype)
    return params


def _building(**mistakes):
    return lambda *arguments: make_params(*arguments, **mistakes)


def _params_by_init(input_dim, hidden_dims, num_classes, normalization, weight_scale, generator):
    params, fan_in = {}, input_dim
    for number, fan_out in enumerate([*hidden_dims, num_classes], 1):
        W = torch.empty(fan_in, fan_out, device=generator.device)
        if weight_scale is None:
            torch.nn.init.kaiming_normal_(W, mode="fan_out", nonlinearity="relu", generator=generator)
        else:
            W.normal_(0, weight_scale, generator=generator)
        params |= {f"W{number}": W, f"b{number}": W.new_zeros(fan_out)}
        fan_in = fan_out
    for number, width in enumerate(hidden_dims, 1):
        if normalization:
            params[f"beta{number}"] = torch.zeros(width, device=generator.device)
            params[f"gamma{number}"] = torch.ones(width, device=generator.device)
    return params


def _params_backwards(input_dim, hidden_dims, num_classes, normalization, weight_scale, generator):
    """Box and Muller's normal numbers, the last layer first."""
    dims, params, home = [input_dim, *hidden_dims, num_classes], {}, {"device": generator.device}
    for number in range(len(dims) - 1, 0, -1):
        shape = dims[number - 1 : number + 1]
        u, v = torch.rand(2, *shape, generator=generator, dtype=torch.float64, **home)
        numbers = (-2 * (1 - u).log()).sqrt() * (2 * math.pi * v).cos()
        std = (2 / shape[0]) ** 0.5 if weight_scale is None else weight_scale
        params[f"W{number}"] = (std * numbers).float()
        params[f"b{number}"] = torch.zeros(shape[1], **home)
        if normalization is not None and number < len(dims) - 1:
            params[f"gamma{number}"], params[f"beta{number}"] = (
                torch.ones(shape[1], **home),
                torch.zeros(shape[1], **home),
            )
    return params


def _build_case(name, dims, normalization, weight_scale, seed):
    return Case(
        name,
        input_dim=dims[0],
        hidden_dims=dims[1:-1],
        num_classes=dims[-1],
        normalization=normalization,
        weight_scale=weight_scale,
        seed=seed,
        home=given([0.0]),
    )


build_params = Hidden(
    cases=[
        _build_case("no hidden layer", [60, 20], None, None, 3),
        _build_case("no hidden layer, layer norm", [50, 30], "layer", 0.1, 4),
        _build_case("four hidden layers", [30, 40, 20, 35, 25, 10], "layer", None, 5),
        _build_case("many inputs", [500, 8, 3], None, None, 6),
        _build_case("many units", [8, 500, 3], None, None, 7),
        _build_case("a large scale", [40, 40, 40], None, 3.0, 8),
        _build_case("one class", [70, 30, 1], "layer", None, 9),
    ],
    mutants={
        "Xavier's scale": _building(std=lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
        "one over the root of the inputs": _building(std=lambda fan_in, fan_out: math.sqrt(1 / fan_in)),
        "counts outputs instead of inputs": _building(std=lambda fan_in, fan_out: math.sqrt(2 / fan_out)),
        "variance instead of standard deviation": _building(std=lambda fan_in, fan_out: 2 / fan_in),
        "torch's orientation": _building(transposed=True),
        "normalises scores": _building(norm_at_end=True),
        "gamma and beta without normalisation": _building(always_norm=True),
        "gamma as wide as the inputs": _building(named_for_all=True),
        "biases of 0.01": _building(bias=0.01),
        "gamma starts at 0": _building(gamma=0.0),
        "counts layers from 0": _building(from_zero=True),
        "uniform numbers": _building(draw=torch.rand),
        "uniform numbers, centred": _building(
            draw=lambda shape, generator, device: (
                (torch.rand(shape, generator=generator, device=device) - 0.5) * math.sqrt(12)
            )
        ),
        "one seed for all layers": _building(one_generator_each=True),
        "ignores weight_scale": _building(ignores_scale=True),
        "float64": _building(dtype=torch.float64),
        "draws without the generator": _building(
            draw=lambda shape, generator, device: torch.randn(shape, device=device)
        ),
        "returns a list": lambda *arguments: list(make_params(*arguments).values()),
        "starts at zero": _building(std=lambda fan_in, fan_out: 0.0),
    },
    solutions={
        "torch.nn.init": _params_by_init,
        "Box and Muller, from the end": _params_backwards,
    },
)
