"""Images as sequences of patches, and back."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, normal

REFUSED = "a ValueError"


def size_of(patch_size):
    """Return height and width of a patch; a list of a case stands for a tuple."""
    return (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)


def as_argument(patch_size):
    """Return a patch size as a function is given it: an int or a tuple."""
    return patch_size if isinstance(patch_size, int) else tuple(patch_size)


def _fits(x, patch_size):
    PH, PW = size_of(patch_size)
    return x.shape[2] % PH == 0 and x.shape[3] % PW == 0


def cut(x, patch_size):
    """Return the patches of images as rows, by torch."""
    size = size_of(patch_size)
    return functional.unfold(x.double(), size, stride=size).transpose(1, 2).to(x.dtype)


# From image to patches.


def _patches(x, patch_size):
    return cut(x, patch_size) if _fits(x, patch_size) else REFUSED


def _call_patchify(patchify, x, patch_size):
    try:
        return patchify(x, as_argument(patch_size))
    except ValueError:
        return REFUSED


def _in_axes(arrange):
    """Patches whose axes (N, H // PH, W // PW, C, PH, PW) are put in another order."""

    def variant(x, patch_size):
        PH, PW = size_of(patch_size)
        rows = cut(x, patch_size)
        return arrange(rows.reshape(len(x), x.shape[2] // PH, x.shape[3] // PW, -1, PH, PW))

    return variant


def _as_it_lies_in_memory(x, patch_size):
    PH, PW = size_of(patch_size)
    return x.reshape(len(x), x.shape[2] // PH * (x.shape[3] // PW), -1) if _fits(x, patch_size) else REFUSED


def _every_nth_pixel(x, patch_size):
    PH, PW = size_of(patch_size)
    N, C, H, W = x.shape
    parts = x.reshape(N, C, PH, H // PH, PW, W // PW)
    return parts.permute(0, 3, 5, 1, 2, 4).flatten(3).flatten(1, 2)


def _exchanged(x, patch_size):
    return cut(x, size_of(patch_size)[::-1])


def _cut_off(x, patch_size):
    PH, PW = size_of(patch_size)
    return cut(x[:, :, : x.shape[2] // PH * PH, : x.shape[3] // PW * PW], patch_size)


def _filled_up(x, patch_size):
    PH, PW = size_of(patch_size)
    return cut(functional.pad(x, (0, -x.shape[3] % PW, 0, -x.shape[2] % PH)), patch_size)


patchify = Function(
    functions=("patchify",),
    reference=_patches,
    call=_call_patchify,
    cases=[
        Case("two images of 3×8×12, patches of 4×4", x=normal(2, 3, 8, 12), patch_size=4),
        Case("patches of 2×3", x=normal(2, 2, 6, 9), patch_size=[2, 3]),
        Case("a height that does not divide", x=normal(1, 2, 7, 6), patch_size=2),
        Case("a width that does not divide", x=normal(1, 2, 6, 8), patch_size=[2, 3]),
    ],
    points={"patches": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "reshapes without moving axes",
            _as_it_lies_in_memory,
            hint="neighbours in memory lie in one row of the image: split H and W first, then move axes, then merge",
        ),
        Mistake(
            "takes every n-th pixel instead of a block",
            _every_nth_pixel,
            hint="H is split into two axes: which of them counts the patches, the slow one or the fast one?",
        ),
        Mistake(
            "puts the channel last within a patch",
            _in_axes(lambda each: each.movedim(3, 5).flatten(3).flatten(1, 2)),
            hint="within a patch the channel changes slowest and the column fastest",
        ),
        Mistake(
            "runs down the columns of a patch",
            _in_axes(lambda each: each.transpose(4, 5).flatten(3).flatten(1, 2)),
            hint="within a patch the channel changes slowest and the column fastest",
        ),
        Mistake(
            "runs down the columns of the image",
            _in_axes(lambda each: each.transpose(1, 2).flatten(3).flatten(1, 2)),
            hint="patch 1 is the right neighbour of patch 0",
        ),
        Mistake(
            "keeps rows and columns of patches apart",
            _in_axes(lambda each: each.flatten(3)),
            hint="a sequence has one axis for its places: L patches, whatever their arrangement was",
        ),
        Mistake(
            "gives each channel patches of its own",
            _in_axes(lambda each: each.movedim(3, 1).flatten(4).flatten(1, 3)),
            hint="a patch holds the pixels of all channels",
        ),
        Mistake(
            "exchanges height and width of a patch",
            _exchanged,
            hint="in a tuple the height comes first, as it does in (N, C, H, W)",
        ),
        Mistake(
            "drops the pixels that are left over",
            _cut_off,
            hint="sizes that do not divide are an error: raise ValueError",
        ),
        Mistake(
            "fills the last patches up with zeros",
            _filled_up,
            hint="sizes that do not divide are an error: raise ValueError",
        ),
    ],
)


# From patches to image.


def _agrees(patches, patch_size, image_size):
    (PH, PW), (H, W) = size_of(patch_size), image_size
    is_grid = H % PH == 0 and W % PW == 0
    return is_grid and patches.shape[1] == H // PH * (W // PW) and patches.shape[2] % (PH * PW) == 0


def _together(patches, patch_size, image_size):
    if not _agrees(patches, patch_size, image_size):
        return REFUSED
    size = size_of(patch_size)
    return functional.fold(patches.double().mT, tuple(image_size), size, stride=size).to(patches.dtype)


def _call_unpatchify(unpatchify, patches, patch_size, image_size):
    try:
        return unpatchify(patches, as_argument(patch_size), tuple(image_size))
    except ValueError:
        return REFUSED


def _from_axes(shape, arrange):
    """Images from patches that are read in another order of their axes; ``shape`` is called with N, h, w, C, PH, PW."""

    def variant(patches, patch_size, image_size):
        (PH, PW), (H, W) = size_of(patch_size), image_size
        C = patches.shape[2] // (PH * PW)
        axes = patches.reshape(shape(len(patches), H // PH, W // PW, C, PH, PW))
        return arrange(axes).permute(0, 3, 1, 4, 2, 5).reshape(len(patches), C, H, W)

    return variant


def _size_exchanged(patches, patch_size, image_size):
    return _together(patches, patch_size, image_size[::-1])


def _without_moving(patches, patch_size, image_size):
    return patches.reshape(len(patches), -1, *image_size) if _agrees(patches, patch_size, image_size) else REFUSED


def _whatever_fits(patches, patch_size, image_size):
    size = size_of(patch_size)
    if patches.shape[2] % (size[0] * size[1]):
        return REFUSED
    height, width = image_size[0] // size[0], image_size[1] // size[1]
    rows = torch.cat([patches, patches.new_zeros(len(patches), height * width, patches.shape[2])], dim=1)
    inner = (height * size[0], width * size[1])
    whole = functional.fold(rows[:, : height * width].mT, inner, size, stride=size)
    return functional.pad(whole, (0, image_size[1] - inner[1], 0, image_size[0] - inner[0]))


unpatchify = Function(
    functions=("unpatchify",),
    reference=_together,
    call=_call_unpatchify,
    cases=[
        Case("two images of 3×8×12, patches of 4×4", patches=normal(2, 6, 48), patch_size=4, image_size=[8, 12]),
        Case("patches of 2×3", patches=normal(2, 9, 12), patch_size=[2, 3], image_size=[6, 9]),
        Case("too few patches", patches=normal(1, 5, 12), patch_size=[2, 3], image_size=[6, 6]),
        Case("a width that does not divide", patches=normal(1, 6, 8), patch_size=2, image_size=[4, 7]),
        Case("a part of a channel", patches=normal(1, 4, 10), patch_size=2, image_size=[4, 4]),
    ],
    points={"images": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "reshapes without moving axes",
            _without_moving,
            hint="the rows of one patch lie one below the other in the image, not behind each other",
        ),
        Mistake(
            "takes the channel for the last axis of a patch",
            _from_axes(lambda N, h, w, C, PH, PW: (N, h, w, PH, PW, C), lambda axes: axes.movedim(5, 3)),
            hint="undo the steps of patchify in reverse: within a patch the channel changes slowest",
        ),
        Mistake(
            "reads the columns of a patch as its rows",
            _from_axes(lambda N, h, w, C, PH, PW: (N, h, w, C, PW, PH), lambda axes: axes.transpose(4, 5)),
            hint="undo the steps of patchify in reverse: within a patch the column changes fastest",
        ),
        Mistake(
            "fills the image column by column",
            _from_axes(lambda N, h, w, C, PH, PW: (N, w, h, C, PH, PW), lambda axes: axes.transpose(1, 2)),
            hint="patch 1 is the right neighbour of patch 0",
        ),
        Mistake(
            "spreads a patch over the image",
            _from_axes(
                lambda N, h, w, C, PH, PW: (N, h, w, C, PH, PW),
                lambda axes: axes.permute(0, 4, 5, 3, 1, 2),
            ),
            hint="a patch is a block: its rows and columns are the fast parts of H and W",
        ),
        Mistake(
            "exchanges height and width of the image",
            _size_exchanged,
            hint="image_size is (H, W), the height first",
        ),
        Mistake(
            "does not look whether patches and image fit together",
            _whatever_fits,
            hint="three things can disagree: H and W with the patch, L with the grid, the row with a patch's pixels",
        ),
    ],
)
