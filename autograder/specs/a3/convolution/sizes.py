"""Places of a window, and how far a unit sees."""

from __future__ import annotations

from dlcvkit.checking import Case, Hidden

# conv_output_size.


def _counting(size, kernel, stride=1, pad=0, dilation=1):
    """Walk along the axis."""
    start, places, last = -pad, 0, size + pad - 1
    while start + dilation * (kernel - 1) <= last:
        places, start = places + 1, start + stride
    if not places:
        raise ValueError("no place")
    return places


def _dividing(size, kernel, stride=1, pad=0, dilation=1):
    rest = size - 1 + 2 * pad - dilation * (kernel - 1)
    if rest / stride < 0:
        raise ValueError
    return int(rest / stride + 1)


def _returning_zero(size, kernel, stride=1, pad=0, dilation=1):
    return max((size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1, 0)


def _wrong(formula, refuse=True):
    def variant(size, kernel, stride=1, pad=0, dilation=1):
        if refuse and size + 2 * pad < dilation * (kernel - 1) + 1:
            raise ValueError("does not fit")
        return formula(size, kernel, stride, pad, dilation)

    return variant


def _refusing_rest(size, kernel, stride=1, pad=0, dilation=1):
    rest = size + 2 * pad - dilation * (kernel - 1) - 1
    if rest < 0 or rest % stride:
        raise ValueError("the steps do not come out even")
    return rest // stride + 1


conv_output_size = Hidden(
    cases=[
        Case("the window is the whole axis", size=6, kernel=6, options={}),
        Case("one pixel, one entry", size=1, kernel=1, options={"stride": 5}),
        Case("a single pixel, padded", size=1, kernel=3, options={"pad": 1}),
        Case("padding larger than the window", size=3, kernel=2, options={"pad": 5, "stride": 3}),
        Case("stride larger than the window", size=17, kernel=2, options={"stride": 5}),
        Case("AlexNet on 224 pixels", size=224, kernel=11, options={"stride": 4}),
        Case("everything at once", size=29, kernel=4, options={"stride": 3, "pad": 2, "dilation": 5}),
        Case("a dilated window that just fits", size=9, kernel=5, options={"dilation": 2}),
        Case("a dilated window that is one pixel too long", size=8, kernel=5, options={"dilation": 2}),
        Case("a window that is one pixel too long", size=4, kernel=7, options={"pad": 1}),
        Case("a window that is far too long, with a stride", size=3, kernel=9, options={"stride": 2}),
        Case("a window that is a little too long, with a large stride", size=3, kernel=4, options={"stride": 6}),
    ],
    mutants={
        "returns 0 where nothing fits": _returning_zero,
        "raises where pixels are left over": _refusing_rest,
        "true division": _wrong(lambda size, k, s, p, d: (size + 2 * p - d * (k - 1) - 1) / s + 1),
        "rounds to the nearest": _wrong(lambda size, k, s, p, d: round((size + 2 * p - d * (k - 1) - 1) / s) + 1),
        "half the padding": _wrong(lambda size, k, s, p, d: (size + p // 2 - d * (k - 1) - 1) // s + 1),
        "no padding": _wrong(lambda size, k, s, p, d: (size - d * (k - 1) - 1) // s + 1),
        "no stride": _wrong(lambda size, k, s, p, d: size + 2 * p - d * (k - 1)),
        "window twice": _wrong(lambda size, k, s, p, d: (size + 2 * p - 2 * d * (k - 1) - 1) // s + 1),
        "raises where the window just fits": lambda size, kernel, stride=1, pad=0, dilation=1: (
            _dividing(size - 1, kernel, stride, pad, dilation) and _dividing(size, kernel, stride, pad, dilation)
        ),
    },
    solutions={"walks": _counting, "divides": _dividing},
)


# receptive_field.


def _set_of_pixels(layers):
    """Collect the pixels that two neighbouring units see, from the last layer down."""
    units = [{0}, {1}]
    for kernel, stride, dilation in reversed(layers):
        units = [{unit * stride + entry * dilation for unit in each for entry in range(kernel)} for each in units]
    return max(units[0]) - min(units[0]) + 1, min(units[1]) - min(units[0])


def _from_the_top(layers):
    length, jump = 1, 1
    for kernel, stride, dilation in layers[::-1]:
        length = (length - 1) * stride + dilation * (kernel - 1) + 1
        jump = jump * stride
    return [length, jump]


def _recursive(layers):
    if not layers:
        return 1, 1
    size, jump = _recursive(layers[:-1])
    kernel, stride, dilation = layers[-1]
    return size + (kernel - 1) * dilation * jump, jump * stride


receptive_field = Hidden(
    cases=[
        Case("no layer", layers=[]),
        Case("three 3×3", layers=[(3, 1, 1)] * 3),
        Case("one 7×7", layers=[(7, 1, 1)]),
        Case("dilations 1, 2, 4", layers=[(3, 1, 1), (3, 1, 2), (3, 1, 4)]),
        Case("1×1 with a stride", layers=[(1, 2, 1), (3, 1, 1), (1, 3, 7), (2, 1, 1)]),
        Case(
            "VGG16 at pool5",
            layers=[layer for count in (2, 2, 3, 3, 3) for layer in [(3, 1, 1)] * count + [(2, 2, 1)]],
        ),
        Case(
            "AlexNet at pool5",
            layers=[(11, 4, 1), (3, 2, 1), (5, 1, 1), (3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 1)],
        ),
        Case("dilation behind strides", layers=[(3, 2, 1), (3, 2, 2), (3, 1, 4), (3, 3, 1)]),
        Case("a window smaller than its stride", layers=[(2, 5, 1), (2, 2, 3)]),
        Case("ten layers", layers=[(3, 1, 1)] * 10),
    ],
    mutants={
        "jump first": lambda layers: (_from_the_top([])[0], _from_the_top(layers)[0]),
        "returns the size alone": lambda layers: _recursive(layers)[0],
        "area instead of length": lambda layers: (_recursive(layers)[0] ** 2, _recursive(layers)[1]),
        "without the last layer": lambda layers: (_recursive(layers[:-1])[0], _recursive(layers)[1]),
        "without the first layer": lambda layers: _recursive(layers[1:]),
        "fails without layers": lambda layers: (layers[0], _recursive(layers))[1],
        "one too large": lambda layers: (_recursive(layers)[0] + 1, _recursive(layers)[1]),
        "last stride left out": lambda layers: (_recursive(layers)[0], _recursive(layers[:-1])[1]),
        "jump before and after exchanged": lambda layers: _recursive(layers)[::-1],
        "counts pixels, not the stretch": lambda layers: (
            (
                len({sum(step) for step in _steps(layers)}),
                _recursive(layers)[1],
            )
            if len(layers) < 5
            else _recursive(layers)
        ),
    },
    solutions={"pixels collected": _set_of_pixels, "from the last layer": _from_the_top, "recursive": _recursive},
)


def _steps(layers):
    """Every way from a unit to a pixel, as the offsets in each layer."""
    ways, jump = [[0]], 1
    for kernel, stride, dilation in layers:
        ways = [[*way, entry * dilation * jump] for way in ways for entry in range(kernel)]
        jump *= stride
    return ways
