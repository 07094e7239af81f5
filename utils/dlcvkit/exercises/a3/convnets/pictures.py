"""Random crops and mirroring, told from the images that come out; and tensors brought to the range of images."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Invariant, Mistake, given, normal
from dlcvkit.exercises.a3.convnets.weights import SIGMAS

DRAWS = 100
_NO_CROP = "cannot be told, because an image is no crop of the padded image"
_UNLIKELY = 18.0
"""Minus the logarithm of the share of right answers that are refused: one in sixty million."""


def _augment(augment, images, pad, seed):
    def generator(number):
        return torch.Generator(device=images.device).manual_seed(number)

    source = generator(seed)
    return {
        "draws": [augment(images, source, pad) for _ in range(DRAWS)],
        "again": augment(images, generator(seed), pad),
        "other": augment(images, generator(seed + 1), pad),
        "by default": augment(images, generator(seed)),
        "pad 4": augment(images, generator(seed), 4),
    }


def _windows(images, pad):
    """Return every crop of the padded images, straight and mirrored, shape (N, 2p + 1, 2p + 1, 2, C, H, W)."""
    H, W = images.shape[2:]
    padded = functional.pad(images, (pad, pad, pad, pad))
    crops = padded.unfold(2, H, 1).unfold(3, W, 1).permute(0, 2, 3, 1, 4, 5)
    return torch.stack([crops, crops.flip(-1)], dim=3)


def _find(draws, images, pad):
    """Return for each image drawn row, column and whether it is mirrored, shape (draws, N, 3); -1 for no crop."""
    windows = _windows(images, pad)
    sizes = windows.shape[1:4]
    windows = windows.flatten(1, 3).flatten(2).double()  # (N, crops, D)
    drawn = torch.stack(draws).flatten(2).double()  # (draws, N, D)
    # Along one direction every window has a place of its own; the nearest is then compared in full.
    direction = torch.linspace(1, 2, windows.shape[2], dtype=torch.float64, device=images.device).sqrt()
    nearest = ((drawn @ direction)[..., None] - windows @ direction).abs().argmin(2)  # (draws, N)
    alike = windows[torch.arange(len(images), device=images.device), nearest]
    place = torch.stack(torch.unravel_index(nearest, sizes), dim=2)
    return torch.where((alike == drawn).all(2, keepdim=True), place, -1).cpu()


_LATEST = {"draws": None, "found": None}


def _found(result, images, pad):
    """Return what ``_find`` does; three properties in a row ask for the same."""
    if _LATEST["draws"] is not result["draws"]:
        _LATEST.update(draws=result["draws"], found=_find(result["draws"], images, pad))
    return _LATEST["found"]


def _shows_crops(result, images, pad, seed):
    for out in [*result["draws"], result["by default"]]:
        if not isinstance(out, torch.Tensor):
            return f"augment returned {'None' if out is None else f'a {type(out).__name__}'}; expected a tensor"
        if out.shape != images.shape or out.dtype != images.dtype:
            kinds = [f"shape {tuple(each.shape)} and dtype {str(each.dtype)[6:]}" for each in (out, images)]
            return f"the result has {kinds[0]}; expected {kinds[1]}"
    if bool((_found(result, images, pad) == -1).any()):
        return f"an image is no crop, straight or mirrored, of the image with {pad} rows and columns of 0 on each side"
    if not torch.equal(result["by default"], result["pad 4"]):
        return "without pad, the result differs from that with pad = 4 and the same seed"
    return None


def _moves_anywhere(result, images, pad, seed):
    found = _found(result, images, pad)
    if bool((found == -1).any()):
        return _NO_CROP
    count = found.shape[0] * found.shape[1]
    for axis, name in enumerate(("rows", "columns")):
        share = torch.bincount(found[..., axis].flatten(), minlength=2 * pad + 1) / count
        expected = 1 / (2 * pad + 1)
        slack = SIGMAS * (expected * (1 - expected) / count) ** 0.5 + 1e-9
        for place, got in enumerate(share.tolist()):
            if abs(got - expected) > slack:
                return f"{got:.0%} of {count} crops start {name} at {place}; expected {expected:.0%} for 0 to {2 * pad}"
    if pad > 0 and len(images) > 1 and bool((found[..., :2] == found[:, :1, :2]).all()):
        return "all images of a batch are cropped at the same place; expected a place of its own for each"
    if not _are_independent(found[..., 0], found[..., 1]):
        return "where rows start depends on where columns start; expected two numbers drawn by themselves"
    return None


def _mirrors_half(result, images, pad, seed):
    found = _found(result, images, pad)
    if bool((found == -1).any()):
        return _NO_CROP
    is_mirrored, count = found[..., 2], found.shape[0] * found.shape[1]
    if len(images) > 1 and bool((is_mirrored == is_mirrored[:, :1]).all()):
        return "the images of a batch are mirrored all or none; expected a choice of its own for each"
    share = float(is_mirrored.double().mean())
    if abs(share - 0.5) > SIGMAS * 0.5 / count**0.5:
        return f"{share:.0%} of {count} images are mirrored; expected 50%"
    for axis, name in enumerate(("rows", "columns")):
        if not _are_independent(found[..., axis], is_mirrored):
            return f"whether an image is mirrored depends on where its {name} start; expected a number of its own"
    return None


def _are_independent(first, second):
    """Return whether pairs of numbers look drawn by themselves, by a chi-square test with Laurent & Massart's bound."""
    pairs = torch.stack([first.flatten(), second.flatten()])
    hits = torch.zeros(int(pairs[0].max()) + 1, int(pairs[1].max()) + 1, dtype=torch.float64)
    hits.index_put_(tuple(pairs), torch.ones(pairs.shape[1], dtype=torch.float64), accumulate=True)
    rows, columns = hits.sum(1), hits.sum(0)
    expected = torch.outer(rows, columns) / hits.sum()
    freedom = (int((rows > 0).sum()) - 1) * (int((columns > 0).sum()) - 1)
    chi_square = float(((hits - expected) ** 2 / expected.clamp(min=1e-9)).sum())
    return freedom == 0 or chi_square <= freedom + 2 * (freedom * _UNLIKELY) ** 0.5 + 2 * _UNLIKELY


def _follows_generator(result, images, pad, seed):
    first, draws = result["draws"][0], result["draws"]
    if not torch.equal(first, result["again"]):
        return "generators with equal seeds give different images; expected the same ones"
    if all(torch.equal(first, out) for out in draws):
        return "every call gives the same images; expected new ones"
    if len(images) > 3 and torch.equal(first, result["other"]):
        return "generators with different seeds give the same images; expected other ones"
    return None


def augment_case(name, shape, pad, seed):
    """Return a case of ``augment``."""
    return Case(name, images=normal(*shape), pad=pad, seed=seed)


augment = Invariant(
    functions=("augment",),
    cases=[
        augment_case("images of 6×9, pad 2", (7, 3, 6, 9), 2, 1),
        augment_case("images of 8×5, pad 1", (6, 2, 8, 5), 1, 2),
    ],
    properties={
        "crops": _shows_crops,
        "places": _moves_anywhere,
        "mirroring": _mirrors_half,
        "generator": _follows_generator,
    },
    points={"crops": 2, "places": 1, "mirroring": 1, "generator": 1},
    hints={
        "crops": "pad with zeros, cut a window of the old size, mirror left and right; all channels alike",
        "places": "each image has a row and a column of its own, 0 to 2 * pad, the last included",
        "mirroring": "a coin is thrown for each image; it knows nothing of the crop",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
    },
    call=_augment,
)


def stretch(x, *, dims=(1, 2, 3), low=None, high=None, constant=0.5):
    """Return images with their range stretched to 0 … 1; each keyword switches a mistake on."""
    low = x.amin(dims, keepdim=True) if low is None else low(x)
    high = x.amax(dims, keepdim=True) if high is None else high(x)
    scaled = (x - low) / (high - low)
    return scaled if constant is None else scaled.nan_to_num(nan=constant)


def stretching(**mistakes):
    """Return a variant of ``stretch_to_images`` with mistakes switched on."""
    return lambda x: stretch(x, **mistakes)


def _largest(x):
    return x.abs().amax((1, 2, 3), keepdim=True)


stretch_to_images = Function(
    functions=("stretch_to_images",),
    reference=stretching(),
    cases=[
        Case("4 filters of 3×5×3", x=normal(4, 3, 5, 3, mean=2.0)),
        Case("a constant one among them", x=given([[[[1.0, 3.0]]], [[[2.0, 2.0]]], [[[-4.0, 0.0]]]])),
    ],
    points={"images": 2},
    mistakes=[
        Mistake(
            "stretches all of them by the same factor",
            stretching(dims=(0, 1, 2, 3)),
            hint="every one of the N has a smallest and a largest entry of its own",
        ),
        Mistake(
            "stretches every channel by itself",
            stretching(dims=(2, 3)),
            hint="colours survive only if the channels of one filter are stretched alike",
        ),
        Mistake(
            "puts 0 in the middle",
            stretching(low=lambda x: -_largest(x), high=_largest),
            hint="it is the smallest entry that becomes 0",
        ),
        Mistake(
            "divides by the largest entry without taking the smallest away",
            stretching(low=torch.zeros_like),
            hint="it is the smallest entry that becomes 0",
        ),
        Mistake(
            "divides 0 by 0 where all entries are equal",
            stretching(constant=None),
            hint="what is the range of a constant one? the docstring says what becomes of it",
        ),
        Mistake(
            "makes a constant one black",
            stretching(constant=0.0),
            hint="the docstring says what becomes of a constant one",
        ),
        Mistake(
            "cuts off what is outside of 0 to 1",
            lambda x: x.clamp(0, 1),
            hint="nothing is cut off: the whole range is stretched",
        ),
    ],
)
