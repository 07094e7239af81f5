"""Max and average pooling."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, drawn, normal
from dlcvkit.exercises.a3.pooling_and_upsampling.pooling import grid, pooling
from dlcvkit.layers import layer

_AXES = "of four axes, axis 2 is axis -2"


def _windows(x, param):
    """Top, left and pixels (N, C, HH, WW) of each window, row by row."""
    HH, WW, stride = param["height"], param["width"], param["stride"]
    for top in range(0, x.shape[2] - HH + 1, stride):
        for left in range(0, x.shape[3] - WW + 1, stride):
            yield top, left, x[:, :, top : top + HH, left : left + WW]


def _shape(x, param):
    return [(x.shape[2] - param["height"]) // param["stride"] + 1, (x.shape[3] - param["width"]) // param["stride"] + 1]


def _max_forward(x, param):
    maxima = [window.amax((2, 3)) for _, _, window in _windows(x, param)]
    return torch.stack(maxima, 2).reshape(*x.shape[:2], *_shape(x, param)), (x, param)


def _max_backward(dout, cache, fault=""):
    """Window by window, spoilt by one ``fault``."""
    x, param = cache
    N, C = x.shape[:2]
    dx, columns = torch.zeros_like(x), dout.shape[3]
    for number, (top, left, window) in enumerate(_windows(x, param)):
        flat = window.flatten(2)
        place = flat.argmax(2) if fault != "minimum" else flat.argmin(2)
        if fault == "one place for all channels":
            place = window.sum(1).flatten(1).argmax(1)[:, None].expand(N, C)
        if fault == "one place for all images":
            place = window.sum(0).flatten(1).argmax(1).expand(N, C)
        gradient = dout[:, :, number // columns, number % columns]
        if fault == "outputs column by column":
            gradient = dout.mT.flatten(2)[:, :, number]
        u, v = place // window.shape[3], place % window.shape[3]
        if fault == "divides by the height":
            u, v = place // window.shape[2], (place % window.shape[2]).clamp(max=window.shape[3] - 1)
            u = u.clamp(max=window.shape[2] - 1)
        for n in range(N):
            for c in range(C):
                where = n, c, top + u[n, c], left + v[n, c]
                dx[where] = gradient[n, c] + (0 if fault == "assigns" else dx[where])
    if fault == "opposite sign":
        return -dx
    if fault == "divided by the window":
        return dx / (param["height"] * param["width"])
    if fault == "divided by the images":
        return dx / N
    if fault == "cut to the windows":
        return dx[:, :, : -(-dx.shape[2] // 2) * 2 - 1]
    if fault == "last image left out":
        dx[-1] = 0
    return dx


def _spoilt(backward, fault):
    return lambda dout, cache: backward(dout, cache, fault)


def _max_pairwise(x, param):
    """The maximum of slices with a step, one per offset; later offsets win only if they are larger."""
    rows, columns = _shape(x, param)
    stride, best, place = param["stride"], None, None
    for u in range(param["height"]):
        for v in range(param["width"]):
            pixels = x[:, :, u : u + rows * stride : stride, v : v + columns * stride : stride]
            code = torch.full_like(pixels, u * param["width"] + v)
            if best is None:
                best, place = pixels, code
            else:
                place, best = torch.where(pixels > best, code, place), torch.maximum(best, pixels)
    return [best, {"place": place, "param": param, "like": x}]


def _max_pairwise_backward(dout, cache):
    place, param, x = cache["place"], cache["param"], cache["like"]
    dx, stride = torch.zeros_like(x), param["stride"]
    for u in range(param["height"]):
        for v in range(param["width"]):
            down, across = u + dout.shape[2] * stride, v + dout.shape[3] * stride
            dx[:, :, u:down:stride, v:across:stride] += dout * (place == u * param["width"] + v)
    return dx


def _max_by_mask(x, param):
    return _max_forward(x.float(), param)[0], (x, param)


def _max_by_mask_backward(dout, cache):
    x, param = cache
    dx, columns = torch.zeros(x.shape, device=x.device), dout.shape[3]
    for number, (top, left, window) in enumerate(_windows(x, param)):
        flat = window.flatten(2)
        is_max = flat == flat.amax(2, keepdim=True)
        is_first = (is_max & (is_max.cumsum(2) == 1)).reshape(window.shape)
        gradient = dout[:, :, number // columns, number % columns, None, None]
        dx[:, :, top : top + window.shape[2], left : left + window.shape[3]] += is_first * gradient
    return dx


def _max_ties_to_the_last(x, param):
    out, cache = _max_pairwise(x, param)
    stride, (rows, columns) = param["stride"], out.shape[2:]
    for u in range(param["height"]):
        for v in range(param["width"]):
            pixels = x[:, :, u : u + rows * stride : stride, v : v + columns * stride : stride]
            cache["place"] = torch.where(pixels == out, u * param["width"] + v, cache["place"])
    return out, cache


def _max_from_zero(x, param):
    """The first window's maximum starts from a padding of zeros."""
    return _max_forward(functional.pad(x, (0, 0, 0, 0)).clamp(min=-1e3), param)[0], (x, param)


def _in_place(x, param):
    out, cache = _max_forward(x, param)
    x -= x.amin()
    return out, cache


def _ready(function):
    return layer(lambda x, p: function(x, (p["height"], p["width"]), p["stride"]))


def _square_images_only(x, param):
    rows = _shape(x, param)[0]
    return torch.stack([w.amax((2, 3)) for *_, w in _windows(x, param)], 2).reshape(*x.shape[:2], rows, rows), (
        x,
        param,
    )


def case(name, *shape, pool, x=None, dout=1.0):
    """A case for both layers."""
    N, C, H, W = shape
    out = (H - pool["height"]) // pool["stride"] + 1, (W - pool["width"]) // pool["stride"] + 1
    return Case(name, x=x or normal(*shape), pool_param=pool, dout=normal(N, C, *out, std=dout))


def _large_in_every_window(g):
    x = torch.randn(2, 2, 5, 6, generator=g, dtype=torch.float64)
    x[:, :, 2, 3] = 50.0
    return x


_CASES = [
    case("one image, one channel", 1, 1, 5, 7, pool=pooling(2, 3, 2)),
    case("1×1 windows", 2, 3, 3, 4, pool=pooling(1, 1, 1)),
    case("1×1 windows, stride 2", 2, 1, 4, 5, pool=pooling(1, 1, 2)),
    case("gaps between windows", 2, 2, 7, 9, pool=pooling(2, 1, 3)),
    case("the whole image", 2, 3, 3, 5, pool=pooling(3, 5, 4)),
    case("one row of pixels", 1, 2, 1, 8, pool=pooling(1, 3, 1)),
    case("one column of pixels", 2, 1, 9, 1, pool=pooling(4, 1, 2)),
    case("high windows", 1, 2, 8, 6, pool=pooling(5, 2, 1)),
    case("wide windows", 2, 1, 6, 9, pool=pooling(2, 5, 3)),
    case("non-contiguous", 2, 3, 6, 5, pool=pooling(3, 2, 2)).strided(),
    case("float32", 3, 2, 7, 6, pool=pooling(2, 3, 2)).float32(),
    case("numbers of 10,000", 2, 2, 5, 5, pool=pooling(2, 2, 1), x=normal(2, 2, 5, 5, std=1e4)),
    case("all negative", 2, 2, 5, 7, pool=pooling(3, 3, 2), x=normal(2, 2, 5, 7, mean=-1e5)),
    case("no gradient from above", 1, 2, 4, 6, pool=pooling(2, 2, 2), dout=0.0),
]
_TIES = [
    case("ties, apart", 2, 2, 6, 9, pool=pooling(2, 3, 3), x=grid(2, 2, 6, 9, values=2)),
    case("ties, overlapping", 2, 3, 6, 7, pool=pooling(3, 2, 1), x=grid(2, 3, 6, 7)),
    case("all equal", 1, 2, 5, 6, pool=pooling(3, 3, 2), x=normal(1, 2, 5, 6, mean=-3.0, std=0.0)),
    case("one pixel wins everywhere", 2, 2, 5, 6, pool=pooling(3, 4, 1), x=drawn(_large_in_every_window)),
]

max_pool = Hidden(
    cases=[*_CASES, *_TIES],
    mutants={
        **{
            fault: (_max_forward, _spoilt(_max_backward, fault))
            for fault in (
                "minimum",
                "one place for all channels",
                "one place for all images",
                "outputs column by column",
                "divides by the height",
                "assigns",
                "opposite sign",
                "divided by the window",
                "divided by the images",
                "cut to the windows",
                "last image left out",
            )
        },
        "ties to the last": (_max_ties_to_the_last, _max_pairwise_backward),
        "starts from -1000": (_max_from_zero, _max_backward),
        "changes x": (_in_place, _max_backward),
        "as many columns as rows": (_square_images_only, _max_backward),
        "no cache": (lambda x, param: _max_forward(x, param)[0], _max_backward),
        "uses torch's": (_ready(functional.max_pool2d)[0], _ready(functional.max_pool2d)[1]),
        "backward not written": (_max_forward, lambda dout, cache: None),
    },
    solutions={
        "window by window": (_max_forward, _max_backward),
        "offset by offset, a list, a dict as cache": (_max_pairwise, _max_pairwise_backward),
        "masks, in float32": (_max_by_mask, _max_by_mask_backward),
    },
    equivalent={
        "max_pool_forward: x.unfold(2, pool_param['height'], stride) -> x.unfold(-2, pool_param['height'], stride)": _AXES,
        "max_pool_backward: dout.shape[2] -> dout.shape[-2]": _AXES,
        "max_pool_backward: (rows * W + columns).flatten(2) -> (rows * W + columns).flatten(-2)": _AXES,
        "max_pool_backward: dout.flatten(2) -> dout.flatten(-2)": _AXES,
    },
)


def _avg_forward(x, param):
    means = [window.mean((2, 3)) for _, _, window in _windows(x, param)]
    return torch.stack(means, 2).reshape(*x.shape[:2], *_shape(x, param)), (x.shape, param)


def _avg_backward(dout, cache, fault=""):
    """Window by window, spoilt by one ``fault``."""
    shape, param = cache
    HH, WW = param["height"], param["width"]
    dx = dout.new_zeros(shape)
    for number, (top, left, _) in enumerate(_windows(dx, param)):
        row, column = divmod(number, dout.shape[3])
        place = dx[:, :, top : top + HH, left : left + WW]
        share = dout[:, :, row, column, None, None] / (HH * WW)
        if fault == "divided by the height only":
            share = share * WW
        if fault == "divided twice":
            share = share / (HH * WW)
        if fault == "assigns":
            place.zero_()
        place += share
    if fault == "opposite sign":
        return -dx
    if fault == "divided by the number of windows":
        return dx / dout[0, 0].numel()
    if fault == "divided by how often a pixel is used":
        used = torch.zeros_like(dx)
        for top, left, _ in _windows(dx, param):
            used[:, :, top : top + HH, left : left + WW] += 1
        return dx / used.clamp(min=1)
    if fault == "spread over pixels left over":
        return dx + dout.sum((2, 3), keepdim=True) * (dx == 0) / dx[0, 0].numel()
    if fault == "float64 always":
        return dx.double()
    return dx


def _kron(length, size, stride):
    """One row per window: 1 where it has a pixel."""
    start = torch.arange(0, length - size + 1, stride)[:, None]
    pixel = torch.arange(length)
    return ((pixel >= start) & (pixel < start + size)).double()


def _avg_by_matrices(x, param):
    down = (_kron(x.shape[2], param["height"], param["stride"]) / param["height"]).to(x)
    across = (_kron(x.shape[3], param["width"], param["stride"]) / param["width"]).to(x)
    return down @ x @ across.T, (down, across)


def _avg_by_cumsum(x, param):
    """Sums over windows as differences of an integral image, in float32."""
    total = functional.pad(x.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
    HH, WW, stride = param["height"], param["width"], param["stride"]
    rows, columns = _shape(x, param)
    top = torch.arange(rows, device=x.device)[:, None] * stride
    left = torch.arange(columns, device=x.device) * stride
    corners = total[:, :, top + HH, left + WW] - total[:, :, top, left + WW] - total[:, :, top + HH, left]
    return ((corners + total[:, :, top, left]) / (HH * WW)).float(), (x.shape, param)


avg_pool = Hidden(
    cases=[case_ for case_ in _CASES if case_.name != "all negative"],
    mutants={
        **{
            fault: (_avg_forward, _spoilt(_avg_backward, fault))
            for fault in (
                "divided by the height only",
                "divided twice",
                "assigns",
                "opposite sign",
                "divided by the number of windows",
                "divided by how often a pixel is used",
                "spread over pixels left over",
                "float64 always",
            )
        },
        "median": (lambda x, param: (_median(x, param), (x.shape, param)), _avg_backward),
        "divides by the height only": (
            lambda x, param: (_avg_forward(x, param)[0] * param["width"], (x.shape, param)),
            _avg_backward,
        ),
        "changes x": (lambda x, param: (_avg_forward(x.sub_(1), param)[0] + 1, (x.shape, param)), _avg_backward),
        "uses torch's": _ready(functional.avg_pool2d),
        "backward not written": (_avg_forward, lambda dout, cache: None),
        "no cache": (lambda x, param: _avg_forward(x, param)[0], _avg_backward),
    },
    solutions={
        "window by window": (_avg_forward, _avg_backward),
        "two matrices": (_avg_by_matrices, lambda dout, cache: cache[0].T @ dout @ cache[1]),
        "integral image, in float32": (_avg_by_cumsum, _avg_backward),
    },
    equivalent={
        "avg_pool_forward: x.unfold(2, pool_param['height'], stride) -> x.unfold(-2, pool_param['height'], stride)": _AXES,
        "avg_pool_backward: dout.shape[2] -> dout.shape[-2]": _AXES,
    },
)


def _median(x, param):
    out = [window.flatten(2).median(2).values for _, _, window in _windows(x, param)]
    return torch.stack(out, 2).reshape(*x.shape[:2], *_shape(x, param))
