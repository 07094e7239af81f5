"""Augmentation, and tensors stretched to the range of images."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, Mistake, given, normal
from dlcvkit.exercises.a3.convnets.pictures import augment_case, stretching


def _cropping(
    *,
    last=1,
    first=0,
    chance=0.5,
    mode="constant",
    value=0.0,
    one_place=False,
    all_or_none=False,
    alike=False,
    flip=(-1,),
    linked=False,
    linked_to_row=False,
    per_channel=False,
    source=None,
    in_place=False,
    width_from_height=False,
    after=False,
    crops=True,
    keeps_one=False,
):
    """Return augment as a loop over the images; each keyword switches a mistake on."""

    def augment(images, generator, pad=4):
        generator = generator if source is None else source(images)
        padded = functional.pad(images, (pad,) * 4, mode=mode, **({"value": value} if mode == "constant" else {}))
        H, W = images.shape[2:]
        out = images if in_place else torch.empty_like(images, memory_format=torch.contiguous_format)

        def number(top):
            return int(torch.randint(first, max(first + 1, top), (1,), generator=generator, device=images.device))

        def coin():
            return float(torch.rand(1, generator=generator, device=images.device, dtype=torch.float64)) < chance

        shared = number(2 * pad + last), number(2 * pad + last)
        mirrored = coin()
        for index in range(len(images)):
            row, column = shared if one_place else (number(2 * pad + last), number(2 * pad + last))
            column = row if alike else column
            is_mirrored = mirrored if all_or_none else coin()
            is_mirrored = (column < pad or (column == pad and is_mirrored)) if linked else is_mirrored
            is_mirrored = (row < pad or (row == pad and is_mirrored)) if linked_to_row else is_mirrored
            if keeps_one and index == 0:
                row, column, is_mirrored = pad, pad, False
            if not crops:
                row = column = pad
            for channel in range(images.shape[1]):
                if per_channel:
                    row, column = number(2 * pad + last), number(2 * pad + last)
                window = padded[index, channel, row : row + H, column : column + W]
                out[index, channel] = window.flip(flip) if is_mirrored else window
        return out

    return augment


def _by_roll(images, generator, pad=4):
    """Move padded images around, cut in one place, and mirror by an index of columns."""
    N, _, H, W = images.shape
    padded = torch.zeros(N, images.shape[1], H + 2 * pad, W + 2 * pad, dtype=images.dtype, device=images.device)
    padded[..., pad : H + pad, pad : W + pad] = images
    moves = (torch.rand(N, 2, generator=generator, device=images.device, dtype=torch.float64) * (2 * pad + 1)).long()
    coins = torch.randint(2, (N,), generator=generator, device=images.device).tolist()
    windows = []
    for each, (down, across), is_mirrored in zip(padded, moves.tolist(), coins, strict=True):
        window = each.roll((-down, -across), dims=(1, 2))[:, :H, :W]
        order = torch.arange(W, device=images.device)
        windows.append(window[..., (W - 1 - order) if is_mirrored else order])
    return torch.stack(windows)


def _by_unfold(images, generator, pad=4):
    """Take windows out of all windows; coins first."""
    N, _, H, W = images.shape
    coins = torch.rand(N, generator=generator, device=images.device) > 0.5
    padded = functional.pad(images, (pad, pad, pad, pad))
    place = torch.randint((2 * pad + 1) ** 2, (N,), generator=generator, device=images.device)
    windows = padded.unfold(2, H, 1).unfold(3, W, 1).flatten(2, 3)  # (N, C, places, H, W)
    out = windows[torch.arange(N, device=images.device), :, place].clone()
    out[coins] = out[coins].flip(-1)
    return out


def _by_gather(images, generator, pad=4):
    """Gather rows, then columns, mirrored ones in descending order."""
    N, C, H, W = images.shape
    padded = functional.pad(images, (pad, pad, pad, pad))
    draws = torch.randint(0, 2 * pad + 1, (N, 2), generator=generator, device=images.device)
    sign = torch.randint(0, 2, (N, 1), generator=generator, device=images.device) * 2 - 1
    rows = draws[:, :1] + torch.arange(H, device=images.device)
    across = torch.arange(W, device=images.device)
    columns = draws[:, 1:] + torch.where(sign > 0, across, W - 1 - across)
    kept = padded.gather(2, rows[:, None, :, None].expand(N, C, H, W + 2 * pad))
    return kept.gather(3, columns[:, None, None, :].expand(N, C, H, W))


_MORE_ZEROS = "further zeros below or to the right, where no window reaches"
_HALF = "either side of one half is as likely as the other"

augment = Hidden(
    cases=[
        augment_case("one image", (1, 3, 6, 7), 2, 3),
        augment_case("one channel", (5, 1, 7, 5), 2, 4),
        augment_case("pad 0", (6, 2, 5, 4), 0, 5),
        augment_case("pad 3", (5, 2, 6, 8), 3, 6),
        augment_case("wide", (5, 2, 3, 11), 1, 7),
        augment_case("high", (5, 2, 11, 3), 1, 8),
        augment_case("many images", (20, 1, 4, 5), 1, 9),
        augment_case("float32", (5, 3, 6, 6), 2, 10).float32(),
        augment_case("non-contiguous", (5, 3, 6, 8), 2, 11).strided(),
    ],
    mutants={
        "never the last place": _cropping(last=0),
        "a place too far": _cropping(last=1, first=1),
        "one place for the batch": _cropping(one_place=True),
        "mirrors all or none": _cropping(all_or_none=True),
        "never mirrors": _cropping(chance=0.0),
        "always mirrors": _cropping(chance=1.0),
        "mirrors a quarter": _cropping(chance=0.25),
        "turns upside down": _cropping(flip=(-2,)),
        "turns by 180 degrees": _cropping(flip=(-2, -1)),
        "row and column alike": _cropping(alike=True),
        "mirrors what was moved left": _cropping(linked=True),
        "mirrors what was moved up": _cropping(linked_to_row=True),
        "channels apart": _cropping(per_channel=True),
        "repeats the border": _cropping(mode="replicate"),
        "pads with ones": _cropping(value=1.0),
        "does not crop": _cropping(crops=False),
        "leaves the first image as it is": _cropping(keeps_one=True),
        "changes its input": _cropping(in_place=True),
        "draws without the generator": _cropping(source=lambda x: torch.default_generator),
        "makes a generator of its own": _cropping(source=lambda x: torch.Generator(device=x.device).manual_seed(0)),
        "changes nothing": lambda images, generator, pad=4: images.clone(),
        "returns the padded images": lambda images, generator, pad=4: functional.pad(images, (pad,) * 4),
        "ignores pad": lambda images, generator, pad=4: _cropping()(images, generator, 1),
        "pad is 2 by default": lambda images, generator, pad=2: _cropping()(images, generator, pad),
    },
    solutions={
        "a loop": _cropping(),
        "rolled": _by_roll,
        "out of all windows": _by_unfold,
        "gathered": _by_gather,
    },
    equivalent={
        "augment: 2 * pad -> 3 * pad": _MORE_ZEROS,
        "augment: 2 * pad -> 3 * pad #2": _MORE_ZEROS,
        "augment: torch.arange(N, device=images.device) -> torch.arange(N)": "an index may lie on the CPU",
        "augment: padded[image, :, rows, columns].permute(0, 3, 1, 2) -> "
        "padded[image, :, rows, columns].permute(0, 3, 1, -2)": "of four axes -2 is 2",
        "augment: torch.rand(N, 1, 1, 1, **home) < 0.5 -> torch.rand(N, 1, 1, 1, **home) <= 0.5": _HALF,
        "augment: torch.rand(N, 1, 1, 1, **home) < 0.5 -> torch.rand(N, 1, 1, 1, **home) > 0.5": _HALF,
    },
)


def _stretch_by_loop(x):
    images = []
    for each in x:
        low, high = float(each.min()), float(each.max())
        images.append((each - low) / (high - low) if high > low else torch.full_like(each, 0.5))
    return torch.stack(images)


def _stretch_flat(x):
    rows = x.reshape(len(x), -1)
    low, high = rows.min(1).values, rows.max(1).values
    span = (high - low)[:, None]
    stretched = torch.where(span > 0, (rows - low[:, None]) / span.clamp(min=1e-300), 0.5)
    return stretched.to(x.dtype).view(x.shape)


def _stretch_aminmax(x):
    rows = x.flatten(1)
    low, high = torch.aminmax(rows, dim=1, keepdim=True)
    scaled = (rows - low).div(high - low).nan_to_num(nan=0.5)
    return scaled.unflatten(1, x.shape[1:])


def _stretch_in_place(x):
    x -= x.amin((1, 2, 3), keepdim=True)
    x /= x.amax((1, 2, 3), keepdim=True)
    return x


def _stretch_eps(x):
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low + 1e-5)


def _standardize(x):
    spread = x.std((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return 0.5 + 0.25 * (x - x.mean((1, 2, 3), keepdim=True)) / spread


stretch_to_images = Hidden(
    cases=[
        Case("one image", x=normal(1, 3, 4, 5)),
        Case("one channel", x=normal(5, 1, 3, 4, mean=-3.0)),
        Case("one pixel", x=normal(4, 3, 1, 1)),
        Case("one entry each", x=normal(3, 1, 1, 1)),
        Case("all zeros", x=given([[[[0.0, 0.0]]], [[[0.0, 0.0]]]])),
        Case("constants", x=given([[[[7.0, 7.0]]], [[[-7.0, -7.0]]], [[[1e-3, 1e-3]]]])),
        Case("entries of 1e6", x=normal(3, 2, 4, 3, std=1e6)),
        Case("entries of 1e-6", x=normal(3, 2, 4, 3, std=1e-6)),
        Case("far from 0", x=normal(3, 2, 4, 3, mean=1000.0)),
        Case("all negative", x=normal(3, 3, 2, 4, mean=-50.0)),
        Case("float32", x=normal(4, 3, 5, 5)).float32(),
        Case("non-contiguous", x=normal(4, 3, 5, 6)).strided(),
    ],
    mistakes=[
        Mistake(
            "stretches rows by themselves",
            stretching(dims=(1, 3)),
            hint="the range is one of all channels, rows and columns",
        ),
        Mistake(
            "makes a constant one white",
            stretching(constant=1.0),
            hint="the docstring says what becomes of a constant one",
        ),
    ],
    mutants={
        "changes its input": _stretch_in_place,
        "adds a small number below": _stretch_eps,
        "standardises": _standardize,
        "a sigmoid": lambda x: x.sigmoid(),
        "the size, not the value": lambda x: _stretch_flat(x.abs()),
        "upside down": lambda x: 1 - _stretch_flat(x),
        "from -1 to 1": lambda x: 2 * _stretch_flat(x) - 1,
        "0 to 255": lambda x: 255 * _stretch_flat(x),
        "float64": lambda x: _stretch_flat(x.double()),
        "rounds to pixels": lambda x: (_stretch_flat(x) * 255).round() / 255,
    },
    solutions={"a loop": _stretch_by_loop, "flat rows": _stretch_flat, "aminmax": _stretch_aminmax},
)
