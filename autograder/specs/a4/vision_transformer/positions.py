"""The class token, and positions for another grid."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.exercises.a4.vision_transformer.positions import grid_case

# add_class_token.


def _sequence(tokens, cls, pos, fault=""):
    """The sequence, spoilt by one ``fault``."""
    N, L, D = tokens.shape
    out = tokens.new_zeros(N, L + 1, D)
    if fault == "class token in place of the first patch":
        out = tokens.clone()
        out[:, 0] = cls
        return out + pos[:-1]
    if fault == "class token at both ends":
        front = cls.expand(N, 1, D)
        return torch.cat([front, tokens, front], dim=1) + functional.pad(pos, (0, 0, 0, 1))
    out[:, 1:] = tokens
    out[:, 0] = cls
    if fault == "positions in reverse":
        return out + pos.flip(0)
    if fault == "positions subtracted":
        return out - pos
    if fault == "positions twice":
        return out + 2 * pos
    if fault == "positions of patches only":
        return out + functional.pad(pos[1:], (0, 0, 1, 0))
    if fault == "scaled by the root of D":
        return out * D**0.5 + pos
    if fault == "class token without gradient":
        return torch.cat([cls.data.expand(N, 1, D), tokens], dim=1) + pos
    if fault == "tokens without gradient":
        return torch.cat([cls.expand(N, 1, D), tokens.detach()], dim=1) + pos
    if fault == "nothing returned":
        return None
    return out + pos


def _in_place(tokens, cls, pos):
    tokens += pos[1:]
    return torch.cat([(cls + pos[0]).expand(len(tokens), 1, -1), tokens], dim=1)


def _by_padding(tokens, cls, pos):
    is_first = (torch.arange(len(pos), device=pos.device) == 0)[:, None]
    return functional.pad(tokens, (0, 0, 1, 0)) + torch.where(is_first, pos + cls, pos)


def _one_by_one(tokens, cls, pos):
    images = [torch.vstack([cls[None], rows]) + pos for rows in tokens]
    return torch.stack(images)


def _case(name, N, L, D):
    return Case(name, tokens=normal(N, L, D), cls=normal(D), pos=normal(L + 1, D))


add_class_token = Hidden(
    cases=[
        _case("one image", 1, 5, 4),
        _case("one patch", 3, 1, 4),
        _case("tokens of one number", 2, 4, 1),
        _case("as many tokens as numbers", 2, 4, 5),
        _case("one image, one patch", 1, 1, 3),
        _case("non-contiguous", 3, 4, 6).strided(),
        _case("float32", 2, 6, 5).float32(),
    ],
    mutants={
        "changes tokens": _in_place,
        **{
            fault: lambda tokens, cls, pos, fault=fault: _sequence(tokens, cls, pos, fault)
            for fault in (
                "class token in place of the first patch",
                "class token at both ends",
                "positions in reverse",
                "positions subtracted",
                "positions twice",
                "positions of patches only",
                "scaled by the root of D",
                "class token without gradient",
                "tokens without gradient",
                "nothing returned",
            )
        },
    },
    solutions={"written into zeros": _sequence, "by padding": _by_padding, "image by image": _one_by_one},
)


# interpolate_positions.


def _positions(pos, old_grid, new_grid, fault=""):
    """The positions, spoilt by one ``fault``."""
    (h, w), (height, width) = old_grid, new_grid
    if fault == "square grids":
        h = w = int((len(pos) - 1) ** 0.5)
    if fault == "new grid exchanged":
        height, width = width, height
    if fault == "unchanged if the number of places is equal" and h * w == height * width:
        return pos
    if fault == "square result":
        width = height
    cls, body = pos[0], pos[1:]
    if fault == "old grid exchanged":
        h, w = w, h
    image = torch.einsum("hwd->dhw", body.unflatten(0, (h, w)))[None]
    options = {"mode": "bicubic", "align_corners": False}
    if fault == "antialias":
        options["antialias"] = True
    image = functional.interpolate(image, (height, width), **options)
    if fault == "area":
        image = functional.interpolate(
            torch.einsum("hwd->dhw", body.unflatten(0, (h, w)))[None], (height, width), mode="area"
        )
    rows = torch.einsum("dhw->hwd", image[0]).flatten(0, 1)
    if fault == "class token last":
        return torch.cat([rows, cls[None]])
    if fault == "class token of zeros":
        return torch.cat([torch.zeros_like(cls)[None], rows])
    if fault == "class token twice":
        return torch.cat([cls[None], cls[None], rows])
    if fault == "scaled to the old length":
        return torch.cat([cls[None], rows * (body.norm() / rows.norm())])
    if fault == "with a batch axis":
        return torch.cat([cls[None], rows])[None]
    return torch.cat([cls[None], rows])


def _weights(old, new, like):
    """The matrix (new, old) of cubic interpolation along one axis, with a = -0.75 and borders repeated."""
    matrix = like.new_zeros(new, old)
    for place in range(new):
        at = (place + 0.5) * old / new - 0.5
        base = int(at // 1)
        for tap in range(base - 1, base + 3):
            t, a = abs(at - tap), -0.75
            near = (a + 2) * t**3 - (a + 3) * t**2 + 1
            weight = near if t <= 1 else a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
            matrix[place, min(max(tap, 0), old - 1)] += weight
    return matrix


def _by_matrices(pos, old_grid, new_grid):
    rows, columns = (_weights(old, new, pos) for old, new in zip(old_grid, new_grid, strict=True))
    image = pos[1:].reshape(*old_grid, -1)
    return torch.cat([pos[:1], torch.einsum("ih,jw,hwd->ijd", rows, columns, image).flatten(0, 1)])


def _number_by_number(pos, old_grid, new_grid):
    columns = []
    for number in range(pos.shape[1]):
        image = pos[1:, number].reshape(1, 1, *old_grid)
        columns.append(functional.interpolate(image, new_grid, mode="bicubic").flatten())
    return torch.vstack([pos[0], torch.stack(columns, dim=1)])


interpolate_positions = Hidden(
    cases=[
        grid_case("the same grid", (3, 4), (3, 4), 5),
        grid_case("from 8×8 to 14×14", (8, 8), (14, 14), 3),
        grid_case("as many places, arranged otherwise", (2, 6), (3, 4), 5),
        grid_case("to one place", (3, 4), (1, 1), 4),
        grid_case("from one place", (1, 1), (2, 3), 4),
        grid_case("one axis only", (3, 5), (3, 8), 2),
        grid_case("one number", (3, 2), (5, 7), 1),
        grid_case("from a column", (6, 1), (4, 2), 3),
        grid_case("square to square", (4, 4), (6, 6), 16),
        grid_case("non-contiguous", (3, 4), (5, 3), 4).strided(),
        grid_case("float32", (4, 3), (6, 7), 5).float32(),
    ],
    mutants={
        fault: lambda pos, old_grid, new_grid, fault=fault: _positions(pos, old_grid, new_grid, fault)
        for fault in (
            "square grids",
            "new grid exchanged",
            "unchanged if the number of places is equal",
            "square result",
            "old grid exchanged",
            "antialias",
            "area",
            "class token last",
            "class token of zeros",
            "class token twice",
            "scaled to the old length",
            "with a batch axis",
        )
    },
    solutions={"by matrices": _by_matrices, "number by number": _number_by_number, "by einsum": _positions},
    equivalent={
        "interpolate_positions: F.interpolate(image, size=new_grid, mode='bicubic', align_corners=False) -> "
        "F.interpolate(image, size=new_grid, mode='bicubic')": "False is what torch takes by default",
        "interpolate_positions: image[0] -> image[-1]": "there is one image",
    },
)
