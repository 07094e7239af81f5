"""Images as sequences of patches, and back."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal


def _size(patch_size):
    return (patch_size, patch_size) if isinstance(patch_size, int) else patch_size


# patchify.


def _patchify(x, patch_size, fault=""):
    """The patches, spoilt by one ``fault``."""
    PH, PW = _size(patch_size)
    if fault == "square patches":
        PW = PH
    N, C, H, W = x.shape
    if fault == "looks at the height only" and H % PH == 0 and W % PW:
        x = x[..., : W // PW * PW]
        W = x.shape[3]
    if fault == "looks at the width only" and W % PW == 0 and H % PH:
        x = x[:, :, : H // PH * PH]
        H = x.shape[2]
    if fault == "looks at the number of pixels" and H * W % (PH * PW) == 0 and (H % PH or W % PW):
        return x.reshape(N, H * W // (PH * PW), -1)
    if H % PH or W % PW:
        if fault == "asserts":
            raise AssertionError("does not divide")
        raise ValueError("does not divide")
    rows = x.unfold(2, PH, PH).unfold(3, PW, PW).permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)
    if fault == "batch and patches merged":
        return rows.flatten(0, 1)
    if fault == "places before images":
        return rows.transpose(0, 1)
    if fault == "channels in reverse":
        return rows.unflatten(2, (C, -1)).flip(2).flatten(2)
    if fault == "patches in reverse":
        return rows.flip(1)
    if fault == "squeezed":
        return rows.squeeze()
    if fault == "scaled":
        return rows / 255
    return rows


def _patchify_in_place(x, patch_size):
    x *= 2
    return _patchify(x, patch_size) / 2


def _patchify_by_indices(x, patch_size):
    PH, PW = _size(patch_size)
    N, C, H, W = x.shape
    if H % PH != 0 or W % PW != 0:
        raise ValueError("no")
    number = torch.arange(H * W, device=x.device).reshape(H // PH, PH, W // PW, PW)
    order = number.transpose(1, 2).reshape(-1, PH * PW)
    return x.reshape(N, C, H * W)[:, :, order].transpose(1, 2).reshape(N, len(order), -1)


def _patchify_by_splitting(x, patch_size):
    PH, PW = _size(patch_size)
    if x.shape[2] % PH or x.shape[3] % PW:
        raise ValueError("no")
    strips = torch.stack(x.split(PH, dim=2), dim=1)
    blocks = torch.stack(strips.split(PW, dim=4), dim=2)
    return blocks.reshape(len(x), -1, x.shape[1] * PH * PW)


patchify = Hidden(
    cases=[
        Case("one image", x=normal(1, 3, 6, 10), patch_size=2),
        Case("one channel", x=normal(3, 1, 6, 4), patch_size=2),
        Case("one patch", x=normal(2, 3, 5, 5), patch_size=5),
        Case("patches of one pixel", x=normal(2, 3, 4, 3), patch_size=1),
        Case("wide patches", x=normal(2, 2, 3, 10), patch_size=[1, 5]),
        Case("high patches", x=normal(2, 2, 9, 4), patch_size=[3, 2]),
        Case("everything of size 4", x=normal(4, 4, 4, 4), patch_size=2),
        Case("patches larger than the image", x=normal(2, 3, 4, 6), patch_size=8),
        Case("half a patch too wide", x=normal(2, 3, 8, 6), patch_size=4),
        Case("half a patch too high", x=normal(2, 3, 6, 8), patch_size=[4, 2]),
        Case("as many pixels as patches hold", x=normal(1, 2, 6, 6), patch_size=[4, 3]),
        Case("non-contiguous", x=normal(3, 2, 6, 8), patch_size=[3, 2]).strided(),
        Case("float32", x=normal(2, 3, 8, 4), patch_size=4).float32(),
    ],
    mutants={
        "changes x": _patchify_in_place,
        **{
            fault: lambda x, patch_size, fault=fault: _patchify(x, patch_size, fault)
            for fault in (
                "square patches",
                "looks at the height only",
                "looks at the width only",
                "looks at the number of pixels",
                "asserts",
                "batch and patches merged",
                "places before images",
                "channels in reverse",
                "patches in reverse",
                "squeezed",
                "scaled",
            )
        },
        "by torch's unfold": lambda x, patch_size: functional.unfold(
            x, _size(patch_size), stride=_size(patch_size)
        ).transpose(1, 2),
    },
    solutions={
        "windows of a tensor": _patchify,
        "by indices": _patchify_by_indices,
        "by splitting and stacking": _patchify_by_splitting,
    },
    equivalent={
        "patchify: blocks.permute(0, 2, 4, 1, 3, 5) -> blocks.permute(0, 2, 4, 1, -3, 5)": "of six axes, axis -3 is axis 3"
    },
)


# unpatchify.


def _unpatchify(patches, patch_size, image_size, fault=""):
    """The images, spoilt by one ``fault``."""
    (PH, PW), (H, W) = _size(patch_size), image_size
    N, L, length = patches.shape
    if fault == "square images":
        W = H
    if fault == "does not look at the row":
        patches = patches[:, :, : length // (PH * PW) * PH * PW]
        length = patches.shape[2]
    if fault == "does not look at L" and H // PH * (W // PW) != L:
        L = H // PH * (W // PW)
        patches = torch.cat([patches, patches.new_zeros(N, L, length)], dim=1)[:, :L]
    wants_grid = fault != "does not look at H and W"
    if L != H // PH * (W // PW) or length % (PH * PW) or (wants_grid and (H % PH or W % PW)):
        if fault == "asserts":
            raise AssertionError("does not fit")
        raise ValueError("does not fit")
    rows = patches.reshape(N, H // PH, W // PW, -1, PH, PW)
    if fault == "always three channels":
        rows = rows[:, :, :, :3].expand(-1, -1, -1, 3, -1, -1) if rows.shape[3] in (1, 3) else rows[:, :, :, :3]
    images = torch.cat(torch.cat(rows.unbind(1), dim=3).unbind(1), dim=3)
    if fault == "channels in reverse":
        return images.flip(1)
    if fault == "channels last":
        return images.movedim(1, 3)
    if fault == "upside down":
        return images.flip(2)
    return images


def _unpatchify_by_indices(patches, patch_size, image_size):
    (PH, PW), (H, W) = _size(patch_size), image_size
    N, L, length = patches.shape
    is_grid = H % PH == 0 == W % PW
    if not is_grid or L * PH * PW != H * W or length % (PH * PW) != 0:
        raise ValueError("no")
    rows = torch.arange(H, device=patches.device)[:, None]
    columns = torch.arange(W, device=patches.device)
    place = rows // PH * (W // PW) + columns // PW
    within = rows % PH * PW + columns % PW
    return patches.reshape(N, L, -1, PH * PW)[:, place, :, within].permute(2, 3, 0, 1)


unpatchify = Hidden(
    cases=[
        Case("one image", patches=normal(1, 6, 12), patch_size=2, image_size=[4, 6]),
        Case("one channel", patches=normal(3, 4, 9), patch_size=3, image_size=[6, 6]),
        Case("one patch", patches=normal(2, 1, 30), patch_size=[3, 5], image_size=[3, 5]),
        Case("patches of one pixel", patches=normal(2, 12, 5), patch_size=1, image_size=[3, 4]),
        Case("wide patches", patches=normal(2, 6, 10), patch_size=[1, 5], image_size=[3, 10]),
        Case("everything of size 4", patches=normal(4, 4, 16), patch_size=2, image_size=[4, 4]),
        Case("a height that does not divide", patches=normal(2, 6, 8), patch_size=2, image_size=[5, 6]),
        Case("too many patches", patches=normal(2, 7, 12), patch_size=2, image_size=[4, 6]),
        Case("half as many patches", patches=normal(2, 3, 8), patch_size=2, image_size=[4, 6]),
        Case("twice as many patches", patches=normal(2, 8, 8), patch_size=2, image_size=[4, 4]),
        Case("a row that is too short", patches=normal(2, 4, 6), patch_size=[2, 4], image_size=[4, 8]),
        Case("as many pixels, no grid", patches=normal(1, 3, 12), patch_size=[4, 3], image_size=[6, 6]),
        Case("non-contiguous", patches=normal(3, 6, 12), patch_size=[2, 3], image_size=[4, 9]).strided(),
        Case("float32", patches=normal(2, 4, 12), patch_size=2, image_size=[4, 4]).float32(),
    ],
    mutants={
        **{
            fault: lambda patches, patch_size, image_size, fault=fault: _unpatchify(
                patches, patch_size, image_size, fault
            )
            for fault in (
                "square images",
                "does not look at the row",
                "does not look at L",
                "does not look at H and W",
                "asserts",
                "always three channels",
                "channels in reverse",
                "channels last",
                "upside down",
            )
        },
    },
    solutions={"put side by side": _unpatchify, "by indices": _unpatchify_by_indices},
    equivalent={
        "unpatchify: blocks.permute(0, 3, 1, 4, 2, 5) -> blocks.permute(0, -3, 1, 4, 2, 5)": "of six axes, axis -3 is axis 3"
    },
)
