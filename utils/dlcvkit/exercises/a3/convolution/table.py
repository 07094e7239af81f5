"""What the layers of a network cost."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Finding, Function, Interrupted, Kind, Mistake
from dlcvkit.checking.messages import listing

COLUMNS = ("shape", "weights", "biases", "multiply_adds", "activations")


def _call(conv_cost, layers, in_shape):
    rows = conv_cost(copy.deepcopy(layers), tuple(in_shape))
    problem = None
    if not isinstance(rows, list | tuple):
        problem = (
            f"conv_cost returned {'None' if rows is None else f'a {type(rows).__name__}'}; expected a list of dicts"
        )
    elif not all(isinstance(row, dict) for row in rows):
        problem = "conv_cost returned a list whose items are not all dicts; expected one dict per layer"
    else:
        lacking = [name for name in COLUMNS if any(name not in row for row in rows)]
        if lacking:
            problem = f"conv_cost returned a dict without {listing(lacking)}; expected {listing(COLUMNS)} of each"
    if problem is not None:
        raise Interrupted(Finding(Kind.STRUCTURE, problem))
    return tuple([row[name] for row in rows] for name in COLUMNS)


def _places(length, axis, layer):
    """What torch makes of one axis of the image; on a whole image, or without memory behind it, it would be slow."""
    settings = {"stride": layer.get("stride", 1), "padding": layer.get("pad", 0), "dilation": layer.get("dilation", 1)}
    line, window = torch.zeros(1, 1, length), layer["kernel"][axis]
    if layer["kind"] == "pool":
        return functional.max_pool1d(line, window, **settings).shape[-1]
    return functional.conv1d(line, torch.zeros(1, 1, window), **settings).shape[-1]


def _module(layer, shape):
    """The parameters of the layer as torch has them, without memory behind them."""
    bias = layer.get("bias", True)
    if layer["kind"] == "fc":
        return nn.Linear(math.prod(shape), layer["outputs"], bias, device="meta")
    if layer["kind"] == "pool":
        return nn.Identity()
    return nn.Conv2d(
        shape[0], layer["filters"], layer["kernel"], groups=layer.get("groups", 1), bias=bias, device="meta"
    )


def _measured(layers, in_shape):
    """Build every layer and look at its parameters and the size of its output."""
    shape = tuple(in_shape)
    rows = []
    for layer in layers:
        module = _module(layer, shape)
        if layer["kind"] == "fc":
            shape = (module.out_features,)
        else:
            places = (_places(length, axis, layer) for axis, length in enumerate(shape[1:]))
            shape = (layer.get("filters", shape[0]), *places)
        weights = [p for p in module.parameters() if p.dim() > 1]
        count = math.prod(shape)
        rows.append(
            {
                "shape": shape,
                "weights": sum(p.numel() for p in weights),
                "biases": sum(p.numel() for p in module.parameters() if p.dim() == 1),
                "multiply_adds": sum(p[0].numel() for p in weights) * count,
                "activations": count,
            }
        )
    return rows


def _as_columns(rows):
    return tuple([row[name] for row in rows] for name in COLUMNS)


def _reference(layers, in_shape):
    return _as_columns(_measured(layers, in_shape))


def _changed(*, layer=lambda layer: layer, row=lambda row, layer, shape: {}):
    """A table that is right but for layers read wrongly, or for entries of a row that are changed."""

    def variant(layers, in_shape):
        read = [layer(dict(each)) for each in layers]
        rows = _measured(read, in_shape)
        shapes = [tuple(in_shape), *(each["shape"] for each in rows)]
        return _as_columns(
            [each | row(each, one, shape) for each, one, shape in zip(rows, layers, shapes, strict=False)]
        )

    return variant


def _without(*names, **defaults):
    return lambda layer: {name: value for name, value in (layer | defaults).items() if name not in names}


def _conv_without(*names):
    return lambda layer: _without(*names)(layer) if layer["kind"] == "conv" else layer


def _is_conv(layer):
    return layer["kind"] == "conv"


def _all_weights_of_a_group(row, layer, shape):
    groups = layer.get("groups", 1) if _is_conv(layer) else 1
    return {"weights": row["weights"] * groups, "multiply_adds": row["multiply_adds"] * groups}


def _pooled_by(divide):
    """The table if the size behind a pooling layer is ``divide(size, window)``."""

    def variant(layers, in_shape):
        rows, shape = [], tuple(in_shape)
        for layer in layers:
            if layer["kind"] == "pool":
                shape = (shape[0], *map(divide, shape[1:], layer["kernel"]))
                count = math.prod(shape)
                rows.append({"shape": shape, "weights": 0, "biases": 0, "multiply_adds": 0, "activations": count})
            else:
                rows += _measured([layer], shape)
                shape = rows[-1]["shape"]
        return _as_columns(rows)

    return variant


_SMALL = [
    {"kind": "conv", "filters": 6, "kernel": (3, 2), "stride": 2, "pad": 1},
    {"kind": "pool", "kernel": (3, 3), "stride": 2},
    {"kind": "fc", "outputs": 10},
    {"kind": "fc", "outputs": 4, "bias": False},
]
_GROUPED = [
    {"kind": "conv", "filters": 8, "kernel": (3, 3), "pad": 2, "dilation": 2, "groups": 2, "bias": False},
    {"kind": "conv", "filters": 8, "kernel": (5, 3), "groups": 8},
    {"kind": "conv", "filters": 3, "kernel": (1, 1)},
]

conv_cost = Function(
    functions=("conv_cost",),
    reference=_reference,
    call=_call,
    cases=[
        Case("conv, pool, two fc on 3×12×17", layers=_SMALL, in_shape=(3, 12, 17)),
        Case("dilated, depthwise and 1×1 convolutions", layers=_GROUPED, in_shape=(4, 9, 11)),
    ],
    points={"shape": 1, "weights": 2, "biases": 1, "multiply_adds": 2, "activations": 1},
    mistakes=[
        Mistake(
            "divides by the window in pooling",
            _pooled_by(lambda size, window: size // window),
            hint="pooling windows may overlap, or leave gaps: conv_output_size knows how many places there are",
        ),
        Mistake(
            "ignores the groups",
            _changed(row=_all_weights_of_a_group),
            hint="a filter sees the channels of its own group only: C / groups of them",
        ),
        Mistake(
            "counts biases where a layer has none",
            _changed(layer=_without("bias")),
            hint="a layer with bias False has no biases",
        ),
        Mistake(
            "counts no biases",
            _changed(row=lambda row, layer, shape: {"biases": 0}),
            hint="one bias per filter, or per output of a fully-connected layer, unless bias is False",
        ),
        Mistake(
            "counts the biases among the weights",
            _changed(row=lambda row, layer, shape: {"weights": row["weights"] + row["biases"]}),
            hint="weights and biases have a column each",
        ),
        Mistake(
            "has one bias for every output value",
            _changed(row=lambda row, layer, shape: {"biases": row["activations"] * bool(row["biases"])}),
            hint="a bias is shared by all places of its filter",
        ),
        Mistake(
            "ignores the padding",
            _changed(layer=_conv_without("pad")),
            hint="look at what conv_output_size is given",
        ),
        Mistake(
            "ignores the stride of convolutions",
            _changed(layer=_conv_without("stride")),
            hint="look at what conv_output_size is given",
        ),
        Mistake(
            "ignores the dilation",
            _changed(layer=_conv_without("dilation")),
            hint="look at what conv_output_size is given",
        ),
        Mistake(
            "takes the stride of a pooling layer to be 1",
            _changed(layer=lambda layer: layer | {"stride": 1} if layer["kind"] == "pool" else layer),
            hint="a pooling layer has a stride of its own, given with it",
        ),
        Mistake(
            "counts weights once for the multiplications",
            _changed(row=lambda row, layer, shape: {"multiply_adds": row["weights"]}),
            hint="the kernel is used anew at every place",
        ),
        Mistake(
            "counts a multiplication and an addition as two",
            _changed(row=lambda row, layer, shape: {"multiply_adds": 2 * row["multiply_adds"]}),
            hint="a multiplication and the addition of its result are one multiply-add",
        ),
        Mistake(
            "counts the multiplications of one filter only",
            _changed(
                row=lambda row, layer, shape: (
                    {"multiply_adds": row["multiply_adds"] // layer["filters"]} if _is_conv(layer) else {}
                )
            ),
            hint="every filter visits every place",
        ),
        Mistake(
            "multiplies at every place of the input",
            _changed(
                row=lambda row, layer, shape: (
                    {"multiply_adds": row["weights"] * shape[1] * shape[2]} if _is_conv(layer) else {}
                )
            ),
            hint="a kernel is multiplied once for every place of the output",
        ),
        Mistake(
            "counts the comparisons of pooling as multiply-adds",
            _changed(
                row=lambda row, layer, shape: (
                    {"multiply_adds": row["activations"] * math.prod(layer["kernel"])}
                    if layer["kind"] == "pool"
                    else {}
                )
            ),
            hint="pooling multiplies nothing",
        ),
        Mistake(
            "counts the layer's input as its activations",
            _changed(row=lambda row, layer, shape: {"activations": math.prod(shape)}),
            hint="activations are the values that come out of a layer",
        ),
        Mistake(
            "puts the places before the filters",
            _changed(row=lambda row, layer, shape: {"shape": (*row["shape"][1:], row["shape"][0])}),
            hint="the shape is (F, H, W), and (M,) after a fully-connected layer",
        ),
    ],
)
