"""occlusion_map."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, uniform
from dlcvkit.exercises.a4.network_visualization.gradients import convolutional, linear


def _occlude(model, image, label, size, stride, fill, batch_size, fault=""):
    """Position by position; spoilt by one ``fault``."""
    _, H, W = image.shape
    if size > H or size > W:
        if fault == "empty map":
            return torch.zeros(0, 0, dtype=image.dtype)
        raise ValueError("too large")
    if fault == "in place":
        image[:, :size, :size] = fill[:, None, None]
    height, width = (H - size) // stride + 1, (W - size) // stride + 1
    if fault == "square map":
        height = width = min(height, width)
    if fault == "ceiling":
        height, width = -((size - H) // stride) + 1, -((size - W) // stride) + 1
    out = torch.zeros(height, width, dtype=image.dtype, device=image.device)
    with torch.no_grad():
        before = model(image.unsqueeze(0))[0, label]
        for i in range(height):
            for j in range(width):
                copy = image.clone()
                top, left = i * stride, j * stride
                if fault == "centred":
                    top, left = max(top - size // 2, 0), max(left - size // 2, 0)
                if fault == "one too wide":
                    copy[:, top : top + size + 1, left : left + size + 1] = fill[:, None, None]
                elif fault == "first channel":
                    copy[0, top : top + size, left : left + size] = fill[0]
                elif fault == "adds":
                    copy[:, top : top + size, left : left + size] += fill[:, None, None]
                elif fault == "mean of the patch":
                    patch = copy[:, top : top + size, left : left + size]
                    copy[:, top : top + size, left : left + size] = patch.mean((1, 2), keepdim=True)
                else:
                    copy[:, top : top + size, left : left + size] = fill[:, None, None]
                score = model(copy[None])[0, label]
                out[i, j] = before - score
                if fault == "relative":
                    out[i, j] = (before - score) / before
                if fault == "positive":
                    out[i, j] = (before - score).clamp(min=0)
    if fault == "mean per patch":
        out = out / size**2
    if fault == "transposed":
        out = out.T
    if fault == "flat":
        out = out.flatten()
    return out


def _all_at_once(model, image, label, size, stride, fill, batch_size):
    _, H, W = image.shape
    if size > H or size > W:
        raise ValueError("too large")
    tops, lefts = torch.arange(0, H - size + 1, stride), torch.arange(0, W - size + 1, stride)
    rows = (torch.arange(H) >= tops[:, None]) & (torch.arange(H) < tops[:, None] + size)
    columns = (torch.arange(W) >= lefts[:, None]) & (torch.arange(W) < lefts[:, None] + size)
    masks = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)[:, None].to(image.device)
    copies = torch.where(masks, fill[:, None, None], image)
    with torch.no_grad():
        scores = torch.cat([model(some)[:, label] for some in copies.split(batch_size)])
        before = model(image[None])[0, label]
    return (before - scores).view(len(tops), len(lefts))


def _too_many(model, image, label, size, stride, fill, batch_size):
    return _all_at_once(model, image, label, size, stride, fill, 10**6)


def _one_more(model, image, label, size, stride, fill, batch_size):
    return _all_at_once(model, image, label, size, stride, fill, batch_size + 1)


def _taller_only(model, image, label, size, *rest):
    if size <= image.shape[1] and size > image.shape[2]:
        return torch.zeros(1, 0, dtype=image.dtype)
    return _occlude(model, image, label, size, *rest)


def _other_error(model, image, label, size, *rest):
    assert size <= min(image.shape[1:])
    return _occlude(model, image, label, size, *rest)


def _with_graph(model, image, label, size, stride, fill, batch_size):
    with torch.no_grad():
        drop = _all_at_once(model, image, label, size, stride, fill, batch_size)
    return drop + 0 * model(image[None]).sum()


def _drops_rest(model, image, label, size, stride, fill, batch_size):
    drop = _all_at_once(model, image, label, size, stride, fill, batch_size).flatten()
    drop[len(drop) // batch_size * batch_size :] = 0
    return drop.reshape((image.shape[1] - size) // stride + 1, -1)


def _spoilt(fault):
    return lambda *a: _occlude(*a, fault)


_FAULTS = (
    "empty map,in place,square map,ceiling,centred,one too wide,first channel,adds,mean of the patch,relative,positive,"
    "mean per patch,transposed,flat"
).split(",")


def _case(name, shape, label, size, stride, batch_size, weights, fill=None):
    fill = fill or uniform(shape[0])
    inputs = {"label": label, "size": size, "stride": stride, "fill": fill, "batch_size": batch_size}
    return Case(name, image=uniform(*shape), **inputs, weights=weights)


occlusion_map = Hidden(
    cases=[
        _case("a patch of one pixel", (2, 3, 4), 0, 1, 1, 5, linear(2, 24)),
        _case("the patch covers the image", (3, 4, 4), 2, 4, 1, 3, convolutional(3, 3, 4)),
        _case("one row of positions", (1, 3, 8), 1, 3, 2, 2, linear(2, 24)),
        _case("one column of positions", (2, 7, 2), 1, 2, 1, 4, convolutional(2, 2, 3)),
        _case("a stride longer than the patch", (2, 9, 7), 0, 2, 3, 4, linear(3, 126)),
        _case("one image at a time", (1, 5, 6), 0, 2, 2, 1, convolutional(2, 1, 4)),
        _case("batches that come out even", (1, 4, 5), 1, 2, 1, 6, linear(2, 20)),
        _case("more room than positions", (3, 5, 4), 3, 3, 1, 1000, convolutional(4, 3, 5)),
        _case("one class", (1, 4, 3), 0, 2, 1, 4, linear(1, 12)),
        _case("a black patch", (3, 5, 6), 1, 2, 2, 4, convolutional(3, 3, 4), fill=given([0.0, 0.0, 0.0])),
        _case("non-contiguous", (3, 5, 6), 1, 2, 2, 4, convolutional(3, 3, 4)).strided(),
        _case("a patch wider than the image", (2, 6, 3), 1, 4, 2, 3, linear(2, 36)),
        _case("a patch larger than the image both ways", (1, 3, 2), 0, 5, 1, 3, linear(2, 6)),
        _case("float32", (3, 6, 5), 2, 3, 1, 4, convolutional(3, 3, 4)).float32(),
    ],
    mutants={
        **{fault: _spoilt(fault) for fault in _FAULTS},
        "looks at the height only": _taller_only,
        "raises another error": _other_error,
        "all at once": _too_many,
        "one image too many": _one_more,
        "returns a graph": _with_graph,
        "leaves the last batch out": _drops_rest,
    },
    solutions={
        "position by position": _occlude,
        "masks": _all_at_once,
    },
    equivalent={
        "occlusion_map: if size > min(H, W): -> dropped": "there are no positions then, and torch.cat of nothing is a ValueError as well",
        "occlusion_map: min(H, W) -> max(H, W)": "a patch that is too large one way has no positions, and torch.cat of nothing is a ValueError as well",
        "occlusion_map: range(0, len(places), batch_size) -> range(0, len(places) + 1, batch_size)": "at most one more "
        "round, with no places and no images, which adds no numbers to the map",
    },
)
