"""Histograms of colours."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, drawn, given, uniform


def _counts_by_comparison(img, bins):
    low = torch.arange(bins, device=img.device)
    scaled = (img * bins).flatten(1)[..., None]
    inside = (scaled >= low) & ((scaled < low + 1) | (low == bins - 1))
    return inside.to(img.dtype).mean(1).flatten()


def _counts_by_addition(img, bins):
    channels, pixels = img.shape[0], img.shape[1] * img.shape[2]
    out = img.new_zeros(channels, bins)
    index = (img * bins).floor().long().clamp(0, bins - 1).reshape(channels, pixels)
    out.scatter_add_(1, index, img.new_ones(channels, pixels))
    return (out / pixels).reshape(-1)


def _color_in_float32(img, bins):
    return _counts_by_comparison(img, bins).float()


def _color_view_with_gaps(img, bins):
    shares = _counts_by_comparison(img, bins)
    return torch.stack([shares, shares], dim=1)[:, 0]


def _color_three_channels(img, bins):
    return torch.cat([_counts_by_comparison(img[c : c + 1], bins) for c in range(3)])


def _color_first_channel(img, bins):
    return _counts_by_comparison(img[:1], bins)


def _color_square(img, bins):
    return _counts_by_comparison(img, bins) * (img.shape[1] / img.shape[2])


def _color_clamps_in_place(img, bins):
    out = _counts_by_comparison(img, bins)
    img.clamp_(max=1 - 1e-6)
    return out


def _color_eight_bins(img, bins):
    return _counts_by_comparison(img, 8)


def _color_no_minlength(img, bins):
    index = (img * bins).long().clamp_max(bins - 1).flatten(1)
    return torch.cat([torch.bincount(channel) / channel.numel() for channel in index]).to(img.dtype)


def _color_off_by_one(img, bins):
    return _counts_by_comparison(img, bins).roll(1)


def _color_bytes(img, bins):
    return _counts_by_comparison((img * 255).round() / 255, bins)


def _color_views_only(img, bins):
    return _counts_by_comparison(img.view(len(img), 1, -1), bins)


def _color_float64(img, bins):
    return _counts_by_comparison(img, bins).double()


color_histogram = Hidden(
    cases=[
        Case("one pixel", img=uniform(3, 1, 1), bins=4),
        Case("one bin", img=uniform(2, 3, 4), bins=1),
        Case("a tall image of four channels", img=uniform(4, 9, 2), bins=7),
        Case("one channel", img=uniform(1, 6, 5), bins=16),
        Case("only black and white", img=drawn(lambda g: torch.randint(0, 2, (3, 4, 7), generator=g).double()), bins=5),
        Case("all white", img=given([[[1.0, 1.0, 1.0]]] * 2), bins=3),
        Case("a dark image", img=uniform(3, 5, 4, high=0.1), bins=6),
        Case("float32", img=uniform(3, 6, 4), bins=8).float32(),
        Case("a non-contiguous image", img=uniform(3, 4, 6), bins=8).strided(),
    ],
    mutants={
        "knows three channels only": _color_three_channels,
        "looks at the first channel only": _color_first_channel,
        "is right for square images only": _color_square,
        "clamps the image in place": _color_clamps_in_place,
        "always uses eight bins": _color_eight_bins,
        "drops empty bins at the end": _color_no_minlength,
        "puts counts one bin too far": _color_off_by_one,
        "rounds to bytes first": _color_bytes,
        "works on contiguous images only": _color_views_only,
        "returns float64 whatever the input": _color_float64,
        "returns zeros": lambda img, bins: img.new_zeros(img.shape[0] * bins),
        "uses torch.histc": lambda img, bins: torch.cat([torch.histc(c, bins, 0, 1) / c.numel() for c in img]),
    },
    solutions={
        "comparison": _counts_by_comparison,
        "scatter": _counts_by_addition,
        "float32": _color_in_float32,
        "view with gaps": _color_view_with_gaps,
    },
    equivalent={
        "color_histogram: torch.cat(shares).to(img.dtype) -> torch.cat(shares)": (
            "counts divided by counts are float32, which is accepted for float64 images by design"
        ),
    },
)
