"""Tensors: indexing, broadcasting, batches of matrices, statistics along an axis."""

from __future__ import annotations

import torch

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Mistake, Speed, given, integers, labels, normal

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

pairwise_sums = Function(
    functions=("pairwise_sums",),
    reference=lambda a, b: torch.stack(torch.broadcast_tensors(a.unsqueeze(1), b.unsqueeze(0))).sum(0),
    cases=[
        Case("three and five rows", a=normal(3, 4), b=normal(5, 4)),
        Case("as many rows as columns", a=normal(3, 3), b=normal(3, 3)),
    ],
    points={"sums": 3},
    is_loop_free=True,
    mistakes=[
        Mistake(
            "pairs row i with row i only",
            lambda a, b: a + b,
            hint="every row of a meets every row of b: give a an axis of length 1 for b's rows to fill",
        ),
        Mistake(
            "has the axes of a and b exchanged",
            lambda a, b: a[None] + b[:, None],
            hint="the first axis counts rows of a, the second rows of b",
        ),
        Mistake(
            "subtracts instead of adding",
            lambda a, b: a[:, None] - b[None],
            hint="sums are asked for; kNN will want the differences",
        ),
        Mistake(
            "multiplies instead of adding",
            lambda a, b: a[:, None] * b[None],
            hint="sums are asked for",
        ),
        Mistake(
            "adds up the columns too",
            lambda a, b: (a[:, None] + b[None]).sum(-1),
            hint="the last axis, of length D, stays",
        ),
        Mistake(
            "pairs columns with columns",
            lambda a, b: a[:, :, None] + b.T[None] if len(a) == a.shape[1] else a[:, :, None] + b[0],
            hint="the new axis goes between the rows and the columns of a, not at the end",
        ),
        Mistake(
            "runs all pairs together in one axis",
            lambda a, b: (a[:, None] + b[None]).flatten(0, 1),
            hint="i and j get an axis each: (N, M, D), not (N * M, D)",
        ),
        Mistake(
            "uses the first row of b only",
            lambda a, b: (a + b[0])[:, None].expand(-1, len(b), -1),
            hint="sums[i, j] depends on j",
        ),
    ],
)


def _products(x, y):
    return torch.einsum("bnm,bmp->bnp", x, y)


def _loop_over_products(x, y):
    return torch.stack([a @ b for a, b in zip(x, y, strict=True)])


batched_matmul = Function(
    functions=("batched_matmul",),
    reference=_products,
    cases=[
        Case("no size twice", x=normal(2, 3, 4), y=normal(2, 4, 5)),
        Case("all sizes equal", x=normal(3, 3, 3), y=normal(3, 3, 3)),
    ],
    points={"products": 2},
    is_loop_free=True,
    speed=Speed(_loop_over_products, factor=3, case=Case(x=normal(128, 8, 8), y=normal(128, 8, 8))),
    mistakes=[
        Mistake(
            "multiplies entry by entry",
            lambda x, y: x * y,
            hint="* works entry by entry; a matrix product adds up over the axis that the two share",
        ),
        Mistake(
            "multiplies in the opposite order",
            lambda x, y: y @ x,
            hint="matrix products do not commute: x comes first",
        ),
        Mistake(
            "transposes y",
            lambda x, y: x @ y.mT,
            hint="rows of x meet columns of y: y is used as it is",
        ),
        Mistake(
            "transposes x",
            lambda x, y: x.mT @ y,
            hint="rows of x meet columns of y: x is used as it is",
        ),
        Mistake(
            "uses the first matrix of y for the whole batch",
            lambda x, y: x @ y[0],
            hint="matrix b of x meets matrix b of y",
        ),
        Mistake(
            "adds up over the batch",
            lambda x, y: _products(x, y).sum(0),
            hint="the batch axis stays: B products come out",
        ),
        Mistake(
            "multiplies every matrix of x with every matrix of y",
            lambda x, y: x[:, None] @ y[None],
            hint="matrix b of x meets matrix b of y, so there are B products, not B * B",
        ),
        Mistake(
            "transposes the products",
            lambda x, y: _products(x, y).mT,
            hint="each product has the rows of x and the columns of y",
        ),
        Mistake(
            "takes the mean over the shared axis instead of the sum",
            lambda x, y: _products(x, y) / x.shape[2],
            hint="a matrix product adds up; nothing is divided",
        ),
        Mistake(
            "reverses the batch of y",
            lambda x, y: _products(x, y.flip(0)),
            hint="matrix b of x meets matrix b of y",
        ),
    ],
)


def _scaled(x, mean, std):
    return (x - mean) / torch.where(std > 0, std, 1)


def _spread(x, dim=0, correction=0):
    """Return the standard deviation; exactly zero where all entries are equal, whatever rounding says."""
    std = x.std(dim, correction=0, keepdim=True)
    if correction:
        std = std * (len(x) / (len(x) - correction)) ** 0.5  # undefined for one row, so that no case shows NaN
    return std.where(x.amax(dim, keepdim=True) > x.amin(dim, keepdim=True), 0)


def _normalize(x):
    return _scaled(x, x.mean(0), _spread(x))


_COLUMNS_WITH_A_CONSTANT = given([[1.0, 3.0, -2.0], [2.0, 3.0, 0.5], [4.0, 3.0, 1.0], [9.0, 3.0, 0.25]])

normalize_columns = Function(
    functions=("normalize_columns",),
    reference=_normalize,
    cases=[
        Case("seven rows of four", x=normal(7, 4, mean=2, std=3)),
        Case("a constant column", x=_COLUMNS_WITH_A_CONSTANT),
        Case("tiny numbers, as many rows as columns", x=normal(4, 4, std=1e-4)),
    ],
    points={"normalized": 4},
    forbidden=TORCH_LAYERS,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "divides by N - 1 in the standard deviation",
            lambda x: _scaled(x, x.mean(0), _spread(x, correction=1)),
            hint="torch.std divides by N - 1 unless told correction=0",
        ),
        Mistake(
            "normalises rows instead of columns",
            lambda x: _scaled(x, x.mean(1, keepdim=True), _spread(x, dim=1)),
            hint="dim names the axis that disappears: statistics of a column run over axis 0",
        ),
        Mistake(
            "uses one mean and one standard deviation for the whole matrix",
            lambda x: _scaled(x, x.mean(), x.std(correction=0)),
            hint="every column has a mean and a standard deviation of its own",
        ),
        Mistake(
            "uses one mean and one standard deviation for the whole matrix",
            lambda x: _scaled(x, x.mean(), x.std(correction=0) * (x.numel() / (x.numel() - 1)) ** 0.5),
            hint="every column has a mean and a standard deviation of its own",
        ),
        Mistake(
            "subtracts the mean only",
            lambda x: x - x.mean(0),
            hint="each column is also divided by its standard deviation",
        ),
        Mistake(
            "divides by the standard deviation only",
            lambda x: _scaled(x, 0, _spread(x)),
            hint="subtract the column's mean first",
        ),
        Mistake(
            "divides by the variance",
            lambda x: _scaled(x, x.mean(0), _spread(x) ** 2),
            hint="the standard deviation is the square root of the variance",
        ),
        Mistake(
            "divides by the sum of squares without the mean over rows",
            lambda x: _scaled(x, x.mean(0), (x - x.mean(0)).square().sum(0).sqrt()),
            hint="the variance is a mean: divide the sum of squares by the number of rows",
        ),
        Mistake(
            "takes the root mean square of x for its standard deviation",
            lambda x: _scaled(x, x.mean(0), x.square().mean(0).sqrt()),
            hint="the standard deviation measures distances from the mean: subtract first, then square",
        ),
        Mistake(
            "subtracts the mean after dividing",
            lambda x: x / torch.where(_spread(x) > 0, _spread(x), 1) - x.mean(0),
            hint="the brackets matter: first subtract the mean, then divide",
        ),
        Mistake(
            "adds a small number to every standard deviation",
            lambda x: (x - x.mean(0)) / (_spread(x) + 1e-5),
            hint="only constant columns need care: replace their standard deviation by 1, leave the others exact",
        ),
        Mistake(
            "adds a small number to every standard deviation",
            lambda x: (x - x.mean(0)) / (_spread(x) + 1e-8),
            hint="only constant columns need care: replace their standard deviation by 1, leave the others exact",
        ),
        Mistake(
            "scales each column to the range from 0 to 1",
            lambda x: _scaled(x, x.amin(0), x.amax(0) - x.amin(0)),
            hint="mean 0 and standard deviation 1 are asked for, not a range",
        ),
    ],
)


def _standardize(train, *, over=0, correction=0, **others):
    mean, std = train.mean(over, keepdim=True), _spread(train, over, correction)
    return _scaled(train, mean, std), tuple(_scaled(other, mean, std) for other in others.values())


def _each_for_itself(train, **others):
    return _normalize(train), tuple(_normalize(other) for other in others.values())


def _together(train, **others):
    everything = torch.cat([train, *others.values()])
    mean, std = everything.mean(0), _spread(everything)
    return _scaled(train, mean, std), tuple(_scaled(other, mean, std) for other in others.values())


def _with(mean, std):
    """Return a variant that takes the statistics of ``train`` by the given functions."""

    def variant(train, **others):
        parts = train, *others.values()
        scaled = tuple(_scaled(part, mean(train), std(train)) for part in parts)
        return scaled[0], scaled[1:]

    return variant


def _train_and_others(standardize, train, **others):
    parts = standardize(train, *others.values())
    # What is no tuple stands for both, so that the report says what each of them should have been.
    return (parts[0], tuple(parts[1:])) if isinstance(parts, tuple | list) and parts else (parts, parts)


standardize = Function(
    functions=("standardize",),
    reference=_standardize,
    call=_train_and_others,
    cases=[
        Case("three parts", train=normal(8, 3, mean=1, std=2), val=normal(5, 3), test=normal(2, 3)),
        Case("images", train=normal(6, 3, 2, 4, mean=1), val=normal(4, 3, 2, 4)),
        Case("a column that is constant in train", train=_COLUMNS_WITH_A_CONSTANT, val=normal(5, 3)),
        Case("tiny numbers", train=normal(5, 2, std=1e-4), val=normal(3, 2, std=1e-4)),
    ],
    points={"train": 2, "others": 2},
    forbidden=TORCH_LAYERS,
    mistakes=[
        Mistake(
            "standardises every part by its own statistics",
            _each_for_itself,
            hint="mean and standard deviation come from train; the other parts are only transformed with them",
        ),
        Mistake(
            "takes the statistics of all parts together",
            _together,
            hint="mean and standard deviation come from train alone: the rest stands for what has not been seen",
        ),
        Mistake(
            "returns the other parts unchanged",
            lambda train, **others: (_normalize(train), tuple(others.values())),
            hint="a model that was trained on standardised data wants to be shown standardised data",
        ),
        Mistake(
            "subtracts the mean only",
            _with(lambda t: t.mean(0), lambda t: torch.ones_like(t[0])),
            hint="each feature is also divided by its standard deviation",
        ),
        Mistake(
            "only divides the other parts and does not shift them",
            lambda train, **others: (
                _normalize(train),
                tuple(_scaled(other, 0, _spread(train)) for other in others.values()),
            ),
            hint="the other parts are shifted by the mean of train as well",
        ),
        Mistake(
            "divides by N - 1 in the standard deviation",
            lambda train, **others: _standardize(train, correction=1, **others),
            hint="torch.std divides by N - 1 unless told correction=0",
        ),
        Mistake(
            "uses one mean and one standard deviation for all features",
            _with(lambda t: t.mean(), lambda t: t.std(correction=0)),
            hint="every feature, every position but the first axis, has statistics of its own",
        ),
        Mistake(
            "divides by the variance",
            _with(lambda t: t.mean(0), lambda t: _spread(t)[0] ** 2),
            hint="the standard deviation is the square root of the variance",
        ),
        Mistake(
            "takes statistics per channel instead of per feature",
            lambda train, **others: _standardize(train, over=(0, 2, 3), **others),
            hint="only axis 0 is averaged over; the mean has the shape of one image",
        ),
        Mistake(
            "adds a small number to every standard deviation",
            _with(lambda t: t.mean(0), lambda t: _spread(t)[0] + 1e-8),
            hint="only constant features need care: replace their standard deviation by 1, leave the others exact",
        ),
    ],
)
