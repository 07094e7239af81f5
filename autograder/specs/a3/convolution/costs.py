"""What layers cost: VGG16, AlexNet and nets made to tell the columns apart."""

from __future__ import annotations

import math

from dlcvkit.checking import Case, Hidden

_TRIPLE = (3, 3)


def _conv(filters, kernel=_TRIPLE, **more):
    return {"kind": "conv", "filters": filters, "kernel": kernel, **more}


def _pool(kernel, **more):
    return {"kind": "pool", "kernel": kernel, **more}


def _fc(outputs, **more):
    return {"kind": "fc", "outputs": outputs, **more}


_VGG16 = [
    layer
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for layer in [_conv(filters, pad=1)] * count + [_pool((2, 2), stride=2)]
] + [_fc(4096), _fc(4096), _fc(1000)]

_ALEXNET = [
    _conv(96, (11, 11), stride=4),
    _pool(_TRIPLE, stride=2),
    _conv(256, (5, 5), pad=2, groups=2),
    _pool(_TRIPLE, stride=2),
    _conv(384, pad=1),
    _conv(384, pad=1, groups=2),
    _conv(256, pad=1, groups=2),
    _pool(_TRIPLE, stride=2),
    _fc(4096),
    _fc(4096),
    _fc(1000),
]

_ALEXNET_OF_TORCHVISION = [
    _conv(64, (11, 11), stride=4, pad=2),
    _pool(_TRIPLE, stride=2),
    _conv(192, (5, 5), pad=2),
    _pool(_TRIPLE, stride=2),
    _conv(384, pad=1),
    _conv(256, pad=1),
    _conv(256, pad=1),
    _pool(_TRIPLE, stride=2),
    _fc(4096),
    _fc(4096),
    _fc(1000),
]


def _places(size, kernel, stride, pad, dilation):
    return (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1


def _rows(layers, in_shape, fault=""):
    """The table, spoilt by one ``fault``."""
    shape, rows = tuple(in_shape), []
    for layer in layers:
        get = layer.get
        if layer["kind"] == "fc":
            inputs = shape[0] if fault == "fc sees the channels only" else math.prod(shape)
            shape = (layer["outputs"], 1, 1) if fault == "fc keeps three axes" else (layer["outputs"],)
            weights, products, biases = inputs * layer["outputs"], inputs * layer["outputs"], layer["outputs"]
        else:
            sizes = list(shape[1:])
            window = layer["kernel"]
            if fault == "kernel exchanged":
                window = window[::-1]
            if fault == "square kernel":
                window = (window[0], window[0])
            stride, pad = get("stride", 1), get("pad", 0)
            if fault == "pooling never padded" and layer["kind"] == "pool":
                pad = 0
            if fault == "pooling halves":
                places = [size // 2 for size in sizes] if layer["kind"] == "pool" else None
            else:
                places = None
            places = places or [
                _places(s, k, stride, pad, get("dilation", 1)) for s, k in zip(sizes, window, strict=True)
            ]
            if fault == "rounds up in pooling" and layer["kind"] == "pool":
                places = [-((k - s - 2 * pad) // stride) + 1 for s, k in zip(sizes, window, strict=True)]
            if layer["kind"] == "pool":
                weights, products, biases = 0, 0, 0
                shape = (shape[0], *places)
                if fault == "pooling has biases":
                    biases = shape[0]
            else:
                each = shape[0] // get("groups", 1) * math.prod(window)
                if fault == "filters divided by the groups":
                    each = shape[0] * math.prod(window)
                weights = each * layer["filters"]
                products = weights * math.prod(places)
                if fault == "products of the whole input" and get("groups", 1) > 1:
                    products *= get("groups", 1)
                biases = layer["filters"]
                shape = (layer["filters"], *places)
        if not get("bias", True) and fault != "bias for all":
            biases = 0
        if fault == "bias added as a product":
            products += math.prod(shape) if biases else 0
        activations = math.prod(shape)
        if fault == "bytes":
            activations *= 4
        if fault == "only the area":
            activations = math.prod(shape[1:])
        rows.append(
            {
                "shape": list(shape) if fault == "" else shape,
                "weights": weights,
                "biases": biases,
                "multiply_adds": products,
                "activations": activations,
            }
        )
    return rows


def _with_running_totals(layers, in_shape):
    total = 0
    rows = _rows(layers, in_shape)
    for row in rows:
        total += row["weights"]
        row["weights"] = total
    return rows


def _recursive(layers, in_shape):
    """More keys than asked for, floats that are whole, and the kinds looked up in a table."""
    if not layers:
        return []
    first, *rest = layers

    def size(axis):
        settings = (first.get(name, default) for name, default in (("stride", 1), ("pad", 0), ("dilation", 1)))
        return _places(in_shape[axis], first["kernel"][axis - 1], *settings)

    shapes = {
        "fc": lambda: (first["outputs"],),
        "pool": lambda: (in_shape[0], size(1), size(2)),
        "conv": lambda: (first["filters"], size(1), size(2)),
    }
    inputs = {
        "fc": lambda: math.prod(in_shape),
        "pool": lambda: 0,
        "conv": lambda: in_shape[0] // first.get("groups", 1) * first["kernel"][0] * first["kernel"][1],
    }
    shape, fan_in = shapes[first["kind"]](), inputs[first["kind"]]()
    row = {
        "kind": first["kind"],
        "shape": shape,
        "weights": fan_in * shape[0],
        "biases": int(fan_in > 0 and first.get("bias", True)) * shape[0],
        "multiply_adds": fan_in * math.prod(shape),
        "activations": math.prod(shape),
    }
    return [row, *_recursive(rest, shape)]


conv_cost = Hidden(
    cases=[
        Case("VGG16", layers=_VGG16, in_shape=(3, 224, 224)),
        Case("AlexNet", layers=_ALEXNET, in_shape=(3, 227, 227)),
        Case("AlexNet of torchvision", layers=_ALEXNET_OF_TORCHVISION, in_shape=(3, 224, 224)),
        Case("no layer", layers=[], in_shape=(3, 5, 4)),
        Case("one pixel", layers=[_conv(1, (1, 1)), _fc(1)], in_shape=(1, 1, 1)),
        Case("fully connected only", layers=[_fc(7), _fc(5, bias=False), _fc(2)], in_shape=(2, 3, 4)),
        Case(
            "everything at once",
            layers=[
                _conv(12, (3, 5), stride=2, pad=3, dilation=2, groups=3),
                _pool((2, 3), stride=2, pad=1),
                _conv(24, (5, 3), pad=2, groups=12, bias=False),
                _conv(7, (1, 1), bias=False),
                _pool((2, 2)),
                _fc(11),
            ],
            in_shape=(6, 25, 31),
        ),
        Case("overlapping pooling that leaves pixels over", layers=[_pool((3, 2), stride=3)], in_shape=(5, 13, 16)),
    ],
    mutants={
        **{
            fault: lambda layers, in_shape, fault=fault: _rows(layers, in_shape, fault)
            for fault in (
                "fc sees the channels only",
                "fc keeps three axes",
                "kernel exchanged",
                "square kernel",
                "pooling never padded",
                "pooling halves",
                "rounds up in pooling",
                "pooling has biases",
                "filters divided by the groups",
                "products of the whole input",
                "bias for all",
                "bias added as a product",
                "bytes",
                "only the area",
            )
        },
        "running totals": _with_running_totals,
        "the input as a row": lambda layers, in_shape: [
            {"shape": in_shape, "weights": 0, "biases": 0, "multiply_adds": 0, "activations": math.prod(in_shape)},
            *_rows(layers, in_shape),
        ],
        "totals alone": lambda layers, in_shape: _rows(layers, in_shape)[-1],
        "a key is missing": lambda layers, in_shape: [
            {key: value for key, value in row.items() if key != "biases"} for row in _rows(layers, in_shape)
        ],
        "tuples": lambda layers, in_shape: [tuple(row.values()) for row in _rows(layers, in_shape)],
    },
    solutions={"case by case, shapes as lists": _rows, "recursive, a key more": _recursive},
)
