"""Rows by a mask, one entry of each row, labels as one-hot rows."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Function, Mistake, given, integers, labels, normal

_ONE_AS_MASK = given([False, True, True, False, True], dtype=torch.bool)

select_rows_by_mask = Function(
    functions=("select_rows_by_mask",),
    reference=lambda x, mask: x.index_select(0, mask.nonzero().flatten()),
    cases=[
        Case("rows of numbers", x=normal(5, 3), mask=_ONE_AS_MASK),
        Case("images", x=normal(5, 3, 2, 4), mask=_ONE_AS_MASK),
    ],
    points={"rows": 2},
    is_loop_free=True,
    mistakes=[
        Mistake(
            "keeps the rows where the mask is False",
            lambda x, mask: x[~mask],
            hint="True means that the row stays",
        ),
        Mistake(
            "reads the mask as row numbers",
            lambda x, mask: x[mask.long()],
            hint="after conversion to integers, True and False are the row numbers 1 and 0; index with the bool mask",
        ),
        Mistake(
            "sets the other rows to zero instead of leaving them out",
            lambda x, mask: x * mask.reshape(-1, *[1] * (x.dim() - 1)),
            hint="the result has as many rows as the mask has True entries",
        ),
        Mistake(
            "returns the numbers of the rows instead of the rows",
            lambda x, mask: mask.nonzero().flatten().to(x.dtype),
            hint="row numbers still have to be looked up in x",
        ),
        Mistake(
            "takes the first rows, as many as there are True entries",
            lambda x, mask: x[: int(mask.sum())],
            hint="which rows are taken depends on where the mask is True, not only on how often",
        ),
        Mistake(
            "lists the rows from last to first",
            lambda x, mask: x[mask].flip(0),
            hint="the rows keep the order that they have in x",
        ),
        Mistake(
            "flattens the rows",
            lambda x, mask: x[mask].flatten(),
            hint="only axis 0 gets shorter; all other axes stay as they are",
        ),
    ],
)

take_one_per_row = Function(
    functions=("take_one_per_row",),
    reference=lambda x, idx: x.gather(1, idx[:, None])[:, 0],
    cases=[
        Case("wide", x=normal(4, 6), idx=integers(4, high=4)),
        Case("square", x=normal(5, 5), idx=given([3, 0, 4, 4, 1], dtype=torch.int64)),
    ],
    points={"values": 2},
    is_loop_free=True,
    mistakes=[
        Mistake(
            "takes all the columns in idx from every row",
            lambda x, idx: x[:, idx],
            hint="x[:, idx] pairs every row with every index; row i is to meet idx[i] only, so give a row number too",
        ),
        Mistake(
            "takes whole rows",
            lambda x, idx: x[idx],
            hint="x[idx] indexes axis 0; idx[i] is a column of row i",
        ),
        Mistake(
            "keeps an axis of length 1",
            lambda x, idx: x.gather(1, idx[:, None]),
            hint="the result has one axis, of length N",
        ),
        Mistake(
            "takes idx as row and the position as column",
            lambda x, idx: x[idx, torch.arange(len(idx), device=x.device)],
            hint="the first index counts rows, the second columns",
        ),
        Mistake(
            "forgets where each row starts in the flattened tensor",
            lambda x, idx: x.flatten()[idx],
            hint="in the flattened tensor, row i starts at i times the number of columns",
        ),
        Mistake(
            "takes rows to be as long as there are rows",
            lambda x, idx: x.flatten()[torch.arange(len(idx), device=x.device) * len(idx) + idx],
            hint="in the flattened tensor, row i starts at i times the number of columns",
        ),
        Mistake(
            "is one column too far to the right",
            lambda x, idx: x[torch.arange(len(idx), device=x.device), (idx + 1) % x.shape[1]],
            hint="columns are counted from 0",
        ),
        Mistake(
            "is one column too far to the left",
            lambda x, idx: x[torch.arange(len(idx), device=x.device), idx - 1],
            hint="columns are counted from 0",
        ),
        Mistake(
            "takes the largest entry of each row",
            lambda x, idx: x.amax(1),
            hint="idx says which entry of the row is wanted",
        ),
        Mistake(
            "uses the first index for every row",
            lambda x, idx: x[:, int(idx[0])],
            hint="every row has an index of its own",
        ),
    ],
)


def _one_hot(y, C):
    return torch.nn.functional.one_hot(y, C).float()


make_one_hot = Function(
    functions=("make_one_hot",),
    reference=_one_hot,
    cases=[
        Case("every class occurs", y=labels(7, 4), C=4),
        Case("the last classes do not occur", y=given([1, 0, 1, 2], dtype=torch.int64), C=6),
    ],
    points={"one_hot": 3},
    forbidden=frozenset({"one_hot"}),
    is_loop_free=True,
    mistakes=[
        Mistake(
            "has a column only for classes that occur",
            lambda y, C: _one_hot(y, int(y.max()) + 1),
            hint="the number of columns is C, whatever the labels are",
        ),
        Mistake(
            "has one row per class",
            lambda y, C: _one_hot(y, C).T,
            hint="row i belongs to label i, column c to class c",
        ),
        Mistake(
            "writes the label instead of 1",
            lambda y, C: _one_hot(y, C) * y[:, None],
            hint="the one entry that is not zero is 1, whatever the label",
        ),
        Mistake(
            "has zeros and ones exchanged",
            lambda y, C: 1 - _one_hot(y, C),
            hint="one 1 a row, all else 0",
        ),
        Mistake(
            "counts classes from 1",
            lambda y, C: _one_hot((y - 1) % C, C),
            hint="label 0 has its 1 in column 0",
        ),
        Mistake(
            "is one column too far to the right",
            lambda y, C: _one_hot((y + 1) % C, C),
            hint="label 0 has its 1 in column 0",
        ),
        Mistake(
            "sets the columns of all labels in every row",
            lambda y, C: _one_hot(y, C).amax(0).expand(len(y), C).clone(),
            hint="out[:, y] = 1 means every row; give the row number as well as the column",
        ),
        Mistake(
            "fills the row up to the label",
            lambda y, C: _one_hot(y, C).flip(1).cumsum(1).flip(1),
            hint="one 1 a row, in the label's own column",
        ),
        Mistake(
            "counts how often each class occurs",
            lambda y, C: _one_hot(y, C).sum(0),
            hint="every label gets a row of its own",
        ),
    ],
)
