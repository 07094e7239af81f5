"""Cutout and mixup: one family of draws each, spoilt in many ways."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.exercises.a2.fully_connected_nets.pictures import one_hot


def _centres(x, generator, *, rows=None, columns=None, count=None):
    shape = (len(x) if count is None else count,)
    return (
        torch.randint(x.shape[2] if rows is None else rows, shape, generator=generator, device=x.device).tolist(),
        torch.randint(x.shape[3] if columns is None else columns, shape, generator=generator, device=x.device).tolist(),
    )


def _cutting(
    *,
    before=lambda size: size // 2,
    side=lambda size: size,
    value=0.0,
    one_place=False,
    channel=slice(None),
    inside=False,
    source=None,
    swapped=False,
    wraps=False,
    keeps=False,
    height_only=False,
    in_place=False,
    last=0,
    cross=False,
):
    """Return cutout by loops; each keyword switches a mistake on."""

    def cutout(x, size, generator):
        generator = generator if source is None else source(x)
        out = x if in_place else x.clone()
        H, W = x.shape[2:]
        limits = {"rows": max(H - last, 1), "columns": max(W - last, 1)}
        if inside:
            limits = {"rows": max(H - size + 1, 1), "columns": max(W - size + 1, 1)}
        if height_only:
            limits = {"rows": H, "columns": min(H, W)}
        rows, columns = _centres(x, generator, **limits, count=1 if one_place else None)
        for number in range(len(x)):
            row, column = rows[number % len(rows)], columns[number % len(columns)]
            top, left = (row, column) if inside else (row - before(size), column - before(size))
            top, left = (left, top) if swapped else (top, left)
            down, across = range(top, top + side(size)), range(left, left + side(size))
            if wraps:
                down, across = [r % H for r in down], [c % W for c in across]
            down, across = [r for r in down if 0 <= r < H], [c for c in across if 0 <= c < W]
            if keeps:
                hole = torch.zeros_like(out[number])
                for r in down:
                    hole[:, r, across] = out[number][:, r, across]
                out[number] = hole
            elif cross:
                out[number][:, down, :] = 0
                out[number][:, :, across] = 0
            else:
                for r in down:
                    out[number, channel, r, across] = value
        return out

    return cutout


def _cut_by_product(x, size, generator):
    N, _, H, W = x.shape
    centre = torch.rand(N, 2, generator=generator, device=x.device, dtype=torch.float64)
    top = (centre[:, 0] * H).floor().long() - size // 2
    left = (centre[:, 1] * W).floor().long() - size // 2
    r, c = torch.arange(H, device=x.device), torch.arange(W, device=x.device)
    is_outside_rows = (r < top[:, None]) | (r > top[:, None] + size - 1)
    is_outside_columns = (c < left[:, None]) | (c > left[:, None] + size - 1)
    return x * (is_outside_rows[:, None, :, None] | is_outside_columns[:, None, None, :]).to(x.dtype)


cutout = Hidden(
    cases=[
        Case("one image", x=normal(1, 3, 6, 6), size=2, seed=3),
        Case("one pixel", x=normal(4, 3, 5, 4), size=1, seed=4),
        Case("one channel, wide", x=normal(5, 1, 3, 12), size=5, seed=5),
        Case("high", x=normal(5, 2, 13, 4), size=4, seed=6),
        Case("as large as the image", x=normal(3, 2, 6, 6), size=6, seed=7),
        Case("larger than twice the image", x=normal(3, 2, 4, 4), size=9, seed=8),
        Case("float32", x=normal(4, 3, 8, 8), size=3, seed=9).float32(),
        Case("non-contiguous", x=normal(4, 3, 8, 7), size=4, seed=10).strided(),
    ],
    mutants={
        "one place for the batch": _cutting(one_place=True),
        "one channel alone": _cutting(channel=slice(0, 1)),
        "always inside the image": _cutting(inside=True),
        "starts at the centre": _cutting(before=lambda size: 0),
        "one pixel too far up": _cutting(before=lambda size: size // 2 + 1),
        "one pixel too large": _cutting(side=lambda size: size + 1),
        "side 2 * (size // 2)": _cutting(side=lambda size: 2 * (size // 2) or 1),
        "fills with 1": _cutting(value=1.0),
        "swaps rows and columns": _cutting(swapped=True),
        "wraps around the border": _cutting(wraps=True),
        "keeps the square alone": _cutting(keeps=True),
        "cuts rows and columns whole": _cutting(cross=True),
        "takes the height for both": _cutting(height_only=True),
        "never the last row or column": _cutting(last=1),
        "changes x": _cutting(in_place=True),
        "draws without the generator": _cutting(source=lambda x: torch.default_generator),
        "makes a generator of its own": _cutting(source=lambda x: torch.Generator(device=x.device).manual_seed(0)),
        "changes nothing": lambda x, size, generator: x.clone(),
    },
    solutions={"pixel rows in loops": _cutting(), "product with a mask": _cut_by_product},
)


def _beta(alpha, generator):
    a = torch.full((2,), alpha, dtype=torch.float64, device=generator.device)
    gammas = torch._standard_gamma(a, generator=generator)
    return float(gammas[0] / gammas.sum())


def _partner(x, generator):
    return torch.randperm(len(x), generator=generator, device=x.device)


def _mixing(
    *,
    draw=_beta,
    partner=_partner,
    label_partner=None,
    label_lam=lambda lam: lam,
    weights=lambda lam: (lam, 1 - lam),
    source=None,
    hard=False,
    swapped=False,
    per_image=False,
    labels_mixed=True,
    images_mixed=True,
    in_place=False,
    x_only=False,
):
    """Return mixup; each keyword switches a mistake on."""

    def mixup(x, y_onehot, alpha, generator):
        generator = generator if source is None else source(x)
        lam = draw(alpha, generator)
        if per_image:
            lam = torch.tensor([draw(alpha, generator) for _ in x], dtype=x.dtype, device=x.device)
        others = partner(x, generator)
        label_others = others if label_partner is None else label_partner(x, generator)

        def blend(values, who, share):
            if per_image:
                share = share.reshape(-1, *[1] * (values.dim() - 1))
            one, other = weights(share)
            return one * values + other * values[who]

        if in_place:
            x.copy_(blend(x, others, lam))
            return x, blend(y_onehot, label_others, lam)
        x_mixed = blend(x, others, lam) if images_mixed else x.clone()
        y_mixed = blend(y_onehot, label_others, label_lam(lam)) if labels_mixed else y_onehot.clone()
        if hard:
            y_mixed = functional.one_hot(y_mixed.argmax(1), y_onehot.shape[1]).to(y_onehot.dtype)
        if x_only:
            return x_mixed
        return (y_mixed, x_mixed) if swapped else (x_mixed, y_mixed)

    return mixup


def _mix_by_lerp(x, y_onehot, alpha, generator):
    order = torch.rand(x.shape[0], generator=generator, device=x.device, dtype=torch.float64).argsort()
    lam = _beta(alpha, generator)
    return [torch.lerp(values[order], values, lam) for values in (x, y_onehot)]


def _mix_by_matrix(x, y_onehot, alpha, generator):
    lam = _beta(alpha, generator)
    eye = torch.eye(len(x), dtype=x.dtype, device=x.device)
    mixing = lam * eye + (1 - lam) * eye[torch.randperm(len(x), generator=generator, device=x.device)]
    return (mixing @ x.flatten(1)).reshape(x.shape), mixing @ y_onehot


mixup = Hidden(
    cases=[
        Case("one image", x=normal(1, 4), y_onehot=one_hot(1, 3), alpha=1.0, seed=3),
        Case("two images", x=normal(2, 6), y_onehot=one_hot(2, 2), alpha=0.5, seed=4),
        Case("alpha = 0.2", x=normal(7, 4), y_onehot=one_hot(7, 3), alpha=0.2, seed=5),
        Case("alpha = 2", x=normal(4, 9), y_onehot=one_hot(4, 5), alpha=2.0, seed=6),
        Case("one class", x=normal(5, 6), y_onehot=one_hot(5, 1), alpha=1.0, seed=7),
        Case("entries of 1e4", x=normal(5, 6, std=1e4), y_onehot=one_hot(5, 3), alpha=1.0, seed=8),
        Case("float32", x=normal(6, 3, 3, 2), y_onehot=one_hot(6, 4), alpha=1.0, seed=9).float32(),
        Case("non-contiguous", x=normal(6, 2, 4, 3), y_onehot=one_hot(6, 4), alpha=1.0, seed=10).strided(),
    ],
    mutants={
        "weights swapped for labels": _mixing(label_lam=lambda lam: 1 - lam),
        "labels stay": _mixing(labels_mixed=False),
        "images stay": _mixing(images_mixed=False),
        "labels have partners of their own": _mixing(label_partner=_partner),
        "labels are rounded": _mixing(hard=True),
        "always half and half": _mixing(draw=lambda alpha, generator: 0.5),
        "uniform weights": _mixing(
            draw=lambda alpha, generator: float(
                torch.rand(1, generator=generator, dtype=torch.float64, device=generator.device)
            )
        ),
        "the larger share for the image": _mixing(
            draw=lambda alpha, generator: max(b := _beta(alpha, generator), 1 - b)
        ),
        "alpha doubled": _mixing(draw=lambda alpha, generator: _beta(2 * alpha, generator)),
        "one over alpha": _mixing(draw=lambda alpha, generator: _beta(1 / alpha**2, generator)),
        "a weight per image": _mixing(per_image=True),
        "partners with repetition": _mixing(
            partner=lambda x, g: torch.randint(len(x), (len(x),), generator=g, device=x.device)
        ),
        "the neighbour is the partner": _mixing(partner=lambda x, g: torch.arange(len(x), device=x.device).roll(1)),
        "weights that add up to more than 1": _mixing(weights=lambda lam: (lam, 1 - lam / 2)),
        "adds without weights": _mixing(weights=lambda lam: (1.0, 1.0)),
        "subtracts": _mixing(weights=lambda lam: (lam, lam - 1)),
        "returns labels first": _mixing(swapped=True),
        "returns images alone": _mixing(x_only=True),
        "changes x": _mixing(in_place=True),
        "makes a generator of its own": _mixing(source=lambda x: torch.Generator(device=x.device).manual_seed(0)),
        "draws without the generator": _mixing(source=lambda x: torch.default_generator),
    },
    solutions={"lerp, sorted numbers, a list": _mix_by_lerp, "product with a matrix": _mix_by_matrix},
    equivalent={
        "mixup: torch.randperm(len(x), generator=generator, device=x.device) -> "
        "torch.randperm(len(x), generator=generator)": "the CPU is the default device, and rows may be indexed from "
        "there; with a GPU the same cases run on it, and its generator refuses to draw on the CPU",
    },
)
