"""The class token, position embeddings, and position embeddings for another grid."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, normal
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import gradients_of, gradients_or_stop

# The class token.


def _use(add_class_token, tokens, cls, pos):
    out = add_class_token(tokens, cls, pos)
    weights = {"cls": cls.detach().clone().requires_grad_(), "pos": pos.detach().clone().requires_grad_()}

    def forward(rows):
        return add_class_token(rows, weights["cls"], weights["pos"])

    return out, gradients_or_stop(forward, tokens, weights, [out])


def _sequence(build):
    def reference(tokens, cls, pos):
        weights = {"cls": cls.detach().clone().requires_grad_(), "pos": pos.detach().clone().requires_grad_()}
        found = gradients_of(lambda rows: build(rows, weights["cls"], weights["pos"]), tokens, weights)
        return build(tokens, cls, pos), found

    return reference


def _joined(tokens, cls):
    return torch.cat([cls.expand(len(tokens), 1, -1), tokens], dim=1)


def _first_image_only(tokens, cls, pos):
    whole = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1) + pos
    first = torch.zeros_like(whole)
    first[0, 0] = 1
    return whole + first * cls


def _cls_without_position(tokens, cls, pos):
    return _joined(tokens + pos[1:], cls)


def _shifted(tokens, cls, pos):
    return _joined(tokens + pos[:-1], cls)


def _shifted_with_last(tokens, cls, pos):
    return _joined(tokens, cls) + pos.roll(-1, 0)


add_class_token = Function(
    functions=("add_class_token",),
    reference=_sequence(lambda tokens, cls, pos: _joined(tokens, cls) + pos),
    call=_use,
    cases=[
        Case("two images, six patches", tokens=normal(2, 6, 5), cls=normal(5), pos=normal(7, 5)),
        Case("as many patches as images", tokens=normal(4, 4, 3), cls=normal(3), pos=normal(5, 3)),
    ],
    points={"sequence": 2, "gradients": 1},
    mistakes=[
        Mistake(
            "puts the class token last",
            _sequence(lambda tokens, cls, pos: torch.cat([tokens, cls.expand(len(tokens), 1, -1)], 1) + pos),
            hint="the class token has place 0, the patches follow",
        ),
        Mistake(
            "adds no position to the class token",
            _sequence(_cls_without_position),
            hint="pos has a row for every token, the class token included",
        ),
        Mistake(
            "adds the positions one place off",
            _sequence(_shifted),
            hint="row 0 of pos belongs to the class token, row 1 to the first patch",
        ),
        Mistake(
            "adds the positions one place off, the last row to the patches' neighbour",
            _sequence(_shifted_with_last),
            hint="row 0 of pos belongs to the class token, row 1 to the first patch",
        ),
        Mistake(
            "leaves the positions out",
            _sequence(lambda tokens, cls, pos: _joined(tokens, cls)),
            hint="where does the sequence learn which patch is where?",
        ),
        Mistake(
            "multiplies by the positions",
            _sequence(lambda tokens, cls, pos: _joined(tokens, cls) * pos),
            hint="positions are added to the tokens",
        ),
        Mistake(
            "gives the class token to the first image only",
            _sequence(_first_image_only),
            hint="every image has a class token, and all of them start with the same numbers",
        ),
        Mistake(
            "adds the class token to the patches",
            _sequence(lambda tokens, cls, pos: _joined(tokens + cls, cls) + pos),
            hint="the class token is one more element of the sequence",
        ),
        Mistake(
            "cuts the class token off from the graph",
            _sequence(lambda tokens, cls, pos: _joined(tokens, cls.detach()) + pos),
            hint="the class token is learned: detach, data and new tensors made of old ones cut the graph",
        ),
        Mistake(
            "cuts the positions off from the graph",
            _sequence(lambda tokens, cls, pos: _joined(tokens, cls) + pos.detach()),
            hint="positions are learned: detach, data and new tensors made of old ones cut the graph",
        ),
    ],
)


# Another grid.


def resample(pos, old_grid, new_grid, *, mode="bicubic", corners=False, columns_first=False, from_class_token=False):
    """Return position embeddings for another grid; the keywords switch mistakes on."""
    (h, w), size = old_grid, tuple(new_grid)
    body = pos[:-1] if from_class_token else pos[1:]
    image = body.reshape(w, h, -1).transpose(0, 1) if columns_first else body.reshape(h, w, -1)
    options = {} if mode == "nearest" else {"align_corners": corners}
    image = functional.interpolate(image.permute(2, 0, 1)[None], size=size, mode=mode, **options)[0]
    rows = (image.mT if columns_first else image).flatten(1).T
    return torch.cat([pos[-1:] if from_class_token else pos[:1], rows])


def _as_a_line(pos, old_grid, new_grid):
    places = new_grid[0] * new_grid[1]
    line = functional.interpolate(pos[1:].T[None], size=places, mode="linear")[0].T
    return torch.cat([pos[:1], line])


def _scrambled(pos, old_grid, new_grid):
    image = pos[1:].reshape(1, -1, *old_grid)
    image = functional.interpolate(image, size=tuple(new_grid), mode="bicubic", align_corners=False)
    return torch.cat([pos[:1], image[0].flatten(1).T])


def _scrambled_back(pos, old_grid, new_grid):
    image = pos[1:].reshape(*old_grid, -1).permute(2, 0, 1)[None]
    image = functional.interpolate(image, size=tuple(new_grid), mode="bicubic", align_corners=False)
    return torch.cat([pos[:1], image.reshape(-1, pos.shape[1])])


def _with_class_token(pos, old_grid, new_grid):
    return _as_a_line(torch.cat([pos[:1], pos]), old_grid, (1, new_grid[0] * new_grid[1] + 1))[1:]


def _without_class_token(pos, old_grid, new_grid):
    return resample(pos, old_grid, new_grid)[1:]


def _with(**changes):
    return lambda pos, old_grid, new_grid: resample(pos, old_grid, new_grid, **changes)


def _call_interpolate(interpolate_positions, pos, old_grid, new_grid):
    return interpolate_positions(pos, tuple(old_grid), tuple(new_grid))


def grid_case(name, old, new, dim):
    """Describe positions of a grid ``old``, wanted for a grid ``new``."""
    return Case(name, pos=normal(1 + old[0] * old[1], dim), old_grid=list(old), new_grid=list(new))


interpolate_positions = Function(
    functions=("interpolate_positions",),
    reference=lambda pos, old_grid, new_grid: resample(pos, old_grid, new_grid),
    call=_call_interpolate,
    cases=[
        grid_case("from 3×4 to 6×5", (3, 4), (6, 5), 5),
        grid_case("to a smaller grid", (4, 6), (3, 3), 4),
    ],
    points={"positions": 3},
    mistakes=[
        Mistake(
            "drops the row of the class token",
            _without_class_token,
            hint="the class token keeps its position embedding, as row 0",
        ),
        Mistake(
            "treats the grid as one long line",
            _as_a_line,
            hint="patches below each other are neighbours too: the grid has two axes",
        ),
        Mistake(
            "resamples the class token along with the patches",
            _with_class_token,
            hint="the class token has no place in the grid: take its row out first",
        ),
        Mistake(
            "takes the class token for the last row",
            _with(from_class_token=True),
            hint="row 0 is the class token's",
        ),
        Mistake(
            "reads the rows of pos as channels",
            _scrambled,
            hint="F.interpolate wants (N, C, H, W): D has to be moved to the place of C, not only be called so",
        ),
        Mistake(
            "reads the channels of the result as rows",
            _scrambled_back,
            hint="F.interpolate gives (1, D, h, w); a row of pos has all D numbers of one place",
        ),
        Mistake(
            "runs down the columns of the grid",
            _with(columns_first=True),
            hint="place h * w counts row by row, and so do the places of the new grid",
        ),
        Mistake(
            "aligns the corners",
            _with(corners=True),
            hint="a patch has an extent: the first patch's centre is half a patch away from the border",
        ),
        Mistake("interpolates bilinearly", _with(mode="bilinear"), hint="the docstring asks for bicubic"),
        Mistake("copies the nearest position", _with(mode="nearest"), hint="the docstring asks for bicubic"),
    ],
)
