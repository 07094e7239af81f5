"""Max-norm: the one function of the notebook that changes its argument."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, given, normal


def _apply(max_norm_, w, limit):
    # The weights are handed over as a part of a larger tensor: what is changed must be that part, and nothing else.
    whole = torch.stack([w, w], dim=-1)
    returned = max_norm_(whole[..., 0], limit)
    is_apart = torch.equal(whole[..., 1], w)
    what = "nothing" if returned is None else f"a {type(returned).__name__}"
    return whole[..., 0].clone(), what if is_apart else "memory beside w was changed"


def _shrunk(w, limit, *, dim=0, square=False, everywhere=False, all_at_once=False, entries=False, inside=False, p=2):
    """Return the limited weights; each keyword switches a mistake on."""
    if entries:
        return w.clamp(-limit, limit)
    norm = w.norm(p=p) if all_at_once else torch.linalg.vector_norm(w, ord=p, dim=dim, keepdim=True)
    norm = norm**2 if square else norm
    scaled = w / norm.clamp(min=1e-300) * (1.0 if inside else limit)
    return scaled if everywhere else torch.where(norm > limit, scaled, w)


def _reference(w, limit):
    norm = torch.linalg.vector_norm(w, dim=0)
    return torch.where(norm > limit, limit * functional.normalize(w, dim=0, eps=1e-300), w), "nothing"


def limiting(**mistakes):
    """Return a variant of max-norm with mistakes switched on."""
    return lambda w, limit: (_shrunk(w, limit, **mistakes), "nothing")


max_norm_ = Function(
    functions=("max_norm_",),
    reference=_reference,
    call=_apply,
    cases=[
        Case("3×5", w=normal(3, 5), limit=1.5),
        Case("some above, some below", w=given([[3.0, 0.3, 0.0, -6.0], [4.0, -0.4, 0.0, 8.0]]), limit=5.0),
    ],
    points={"w": 3, "returned": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD | frozenset({"renorm", "renorm_", "embedding_renorm_"}),
    mistakes=[
        Mistake("leaves w as it was", lambda w, limit: (w, "nothing"), hint="w itself has to change, not a copy of it"),
        Mistake(
            "takes the norm of the rows",
            limiting(dim=1),
            hint="w has shape (D, M): what one unit receives is a column",
        ),
        Mistake(
            "compares the square of the norm with the limit",
            limiting(square=True),
            hint="the norm is the root of a sum of squares",
        ),
        Mistake(
            "stretches what is below the limit",
            limiting(everywhere=True),
            hint="columns within the limit stay as they are",
        ),
        Mistake(
            "takes one norm for all columns",
            limiting(all_at_once=True),
            hint="every column has a norm of its own",
        ),
        Mistake(
            "limits entries instead of columns",
            limiting(entries=True),
            hint="a column keeps its direction: all its entries shrink by one factor",
        ),
        Mistake("shrinks to norm 1", limiting(inside=True), hint="which norm may a column have at most?"),
        Mistake(
            "takes the sum of absolute values for the norm",
            limiting(p=1),
            hint="the norm is the root of a sum of squares",
        ),
    ],
)
