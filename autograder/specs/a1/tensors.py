"""Hidden cases, mutants and other solutions for solutions/a1/tensors.py."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, booleans, given, integers, labels, normal


def _mask(*entries):
    return given([bool(entry) for entry in entries], dtype=torch.bool)


def _whole(*entries):
    return given(list(entries), dtype=torch.int64)


def _zeroes_in_place(x, mask):
    rows = x[mask]
    x[~mask] = 0
    return rows


def _rows_by_number(x, mask):
    numbers = torch.arange(len(mask), device=mask.device)
    return torch.index_select(x, 0, numbers[mask])


def _rows_by_flattening(x, mask):
    flat = x.reshape(len(x), -1)
    return flat[mask].reshape(-1, *x.shape[1:])


def _rows_with_stride(x, mask):
    rows = x[mask]
    return torch.stack([rows, rows], dim=-1)[..., 0]


def _rows_by_loop(x, mask):
    return torch.stack([row for row, stays in zip(x, mask, strict=True) if stays])


select_rows_by_mask = Hidden(
    cases=[
        Case("one row, which stays", x=normal(1, 4), mask=_mask(1)),
        Case("no row stays", x=normal(4, 3), mask=_mask(0, 0, 0, 0)),
        Case("every row stays", x=normal(3, 2, 5), mask=_mask(1, 1, 1)),
        Case("a square matrix", x=normal(6, 6), mask=_mask(0, 1, 0, 0, 1, 1)),
        Case("whole numbers", x=integers(9, 2, low=-5, high=6), mask=booleans(9)),
        Case("a vector", x=normal(7), mask=_mask(1, 0, 0, 1, 1, 0, 1)),
        Case("float32", x=normal(8, 3), mask=booleans(8)).float32(),
        Case("non-contiguous images", x=normal(6, 2, 3, 5), mask=_mask(0, 1, 1, 0, 0, 1)).strided(),
    ],
    mutants={
        "zeroes the rest of the input in place": _zeroes_in_place,
        "loops over rows": _rows_by_loop,
        "works on matrices of three columns only": lambda x, mask: x[mask[:, None].expand(-1, 3)].reshape(-1, 3),
        "works on matrices only": lambda x, mask: torch.masked_select(x, mask[:, None]).reshape(-1, x.shape[1]),
        "indexes with a column of numbers": lambda x, mask: x[mask.nonzero()],
        "masks columns": lambda x, mask: x[:, mask[: x.shape[1]]],
        "is one row late": lambda x, mask: x[mask.roll(1)],
        "leaves the last of the rows out": lambda x, mask: x[mask][:-1],
        "drops axes of length 1": lambda x, mask: x[mask].squeeze(),
        "converts to float64": lambda x, mask: x[mask].double(),
        "returns x as it is": lambda x, mask: x,
        "returns nothing": lambda x, mask: None,
    },
    solutions={
        "index_select with row numbers": _rows_by_number,
        "flattened and shaped back": _rows_by_flattening,
        "a result with gaps in memory": _rows_with_stride,
        "numbers of the rows": lambda x, mask: x[torch.where(mask)[0]],
    },
)


def _by_flattened_index(x, idx):
    starts = torch.arange(x.shape[0], device=x.device) * x.shape[1]
    return x.reshape(-1)[starts + idx]


def _by_comparison(x, idx):
    columns = torch.arange(x.shape[1], device=x.device)
    return torch.where(columns == idx[:, None], x, torch.zeros_like(x)).sum(dim=1)


def _by_loop(x, idx):
    return torch.stack([x[i, idx[i]] for i in range(len(x))])


def _shifts_idx_in_place(x, idx):
    idx += torch.arange(len(idx), device=idx.device) * x.shape[1]
    return x.reshape(-1)[idx]


def _view_only(x, idx):
    return x.view(-1)[torch.arange(len(x), device=x.device) * x.shape[1] + idx]


take_one_per_row = Hidden(
    cases=[
        Case("one row", x=normal(1, 5), idx=_whole(3)),
        Case("one column", x=normal(4, 1), idx=_whole(0, 0, 0, 0)),
        Case("one entry", x=normal(1, 1), idx=_whole(0)),
        Case("tall", x=normal(9, 2), idx=integers(9, high=2)),
        Case("first and last columns", x=normal(4, 7), idx=_whole(0, 6, 6, 0)),
        Case("whole numbers", x=integers(6, 4, high=100), idx=integers(6, high=4)),
        Case("float32", x=normal(5, 3), idx=integers(5, high=3)).float32(),
        Case("non-contiguous inputs", x=normal(5, 4), idx=integers(5, high=4)).strided(),
        Case("negative and large entries", x=normal(6, 5, mean=-1e6, std=1e6), idx=integers(6, high=5)),
    ],
    mutants={
        "loops over rows": _by_loop,
        "moves the indices in place": _shifts_idx_in_place,
        "works on contiguous tensors only": _view_only,
        "works on six columns only": lambda x, idx: x.reshape(-1)[torch.arange(len(x), device=x.device) * 6 + idx],
        "works on four rows only": lambda x, idx: x[torch.arange(4, device=x.device), idx[:4]],
        "takes the diagonal": lambda x, idx: x.diagonal(),
        "gathers along axis 0": lambda x, idx: x.gather(0, idx[None])[0],
        "reverses the rows": lambda x, idx: x.flip(0).gather(1, idx[:, None])[:, 0],
        "returns Python numbers": lambda x, idx: x.gather(1, idx[:, None])[:, 0].tolist(),
        "drops the last axis as well": lambda x, idx: x.gather(1, idx[:, None]).squeeze(),
        "converts to float64": lambda x, idx: x.gather(1, idx[:, None])[:, 0].double(),
        "returns zeros": lambda x, idx: x.new_zeros(len(x)),
    },
    solutions={
        "row numbers and column numbers": lambda x, idx: x[torch.arange(len(x), device=x.device), idx],
        "flattened": _by_flattened_index,
        "compared with column numbers": _by_comparison,
        "the diagonal of all pairs": lambda x, idx: x[:, idx].diagonal(),
    },
    equivalent={
        "take_one_per_row: torch.arange(x.shape[0], device=x.device) -> torch.arange(x.shape[0])": (
            "torch takes index tensors on the CPU for a tensor on any device"
        ),
    },
)


def _by_scatter(y, C):
    return torch.zeros(len(y), C, device=y.device).scatter_(1, y[:, None], 1.0)


def _by_rows_of_eye(y, C):
    return torch.eye(C, device=y.device)[y]


def _by_assignment(y, C):
    out = torch.zeros((y.shape[0], C), device=y.device)
    out[torch.arange(y.shape[0], device=y.device), y] = 1
    return out


def _by_loop_of_labels(y, C):
    out = torch.zeros(len(y), C, device=y.device)
    for i, label in enumerate(y):
        out[i, label] = 1
    return out


def _writes_into_labels(y, C):
    out = _by_assignment(y, C)
    y.zero_()
    return out


def _on_the_cpu(y, C):
    return torch.eye(C)[y]


def _compares_with_cpu(y, C):
    return (y[:, None] == torch.arange(C)).float()


make_one_hot = Hidden(
    cases=[
        Case("one label", y=_whole(2), C=5),
        Case("one class", y=_whole(0, 0, 0), C=1),
        Case("as many labels as classes", y=labels(6, 6), C=6),
        Case("more classes than labels", y=_whole(9, 4), C=12),
        Case("the last class only", y=_whole(3, 3, 3, 3, 3), C=4),
        Case("class 0 only", y=_whole(0, 0), C=3),
        Case("non-contiguous labels", y=labels(8, 3), C=3).strided(),
        Case("a hundred labels", y=integers(100, high=10), C=10),
    ],
    mutants={
        "calls torch's one_hot": lambda y, C: torch.nn.functional.one_hot(y, C).float(),
        "loops over labels": _by_loop_of_labels,
        "overwrites the labels": _writes_into_labels,
        "makes the result on the CPU": _on_the_cpu,
        "makes the class numbers on the CPU": _compares_with_cpu,
        "returns whole numbers": lambda y, C: torch.eye(C, device=y.device, dtype=torch.int64)[y],
        "returns booleans": lambda y, C: y[:, None] == torch.arange(C, device=y.device),
        "has as many columns as rows": lambda y, C: torch.eye(len(y), device=y.device)[y % len(y)],
        "always has ten columns": lambda y, C: torch.eye(10, device=y.device)[y],
        "sorts the labels": lambda y, C: _by_rows_of_eye(y.sort().values, C),
        "is the identity": lambda y, C: torch.eye(len(y), C, device=y.device),
        "returns ones": lambda y, C: torch.ones(len(y), C, device=y.device),
        "returns zeros": lambda y, C: torch.zeros(len(y), C, device=y.device),
        "sets the last of equal labels only": lambda y, C: torch.zeros(len(y), C, device=y.device).index_put(
            (torch.stack([(y == label).nonzero()[-1, 0] for label in y]), y), torch.ones((), device=y.device)
        ),
    },
    solutions={
        "scatter": _by_scatter,
        "rows of the identity": _by_rows_of_eye,
        "compared with class numbers": lambda y, C: (y[:, None] == torch.arange(C, device=y.device)).float(),
        "a transposed result": lambda y, C: (torch.arange(C, device=y.device)[:, None] == y).float().T,
        "assignment to zeros": _by_assignment,
    },
    equivalent={
        "make_one_hot: torch.arange(y.shape[0], device=y.device) -> torch.arange(y.shape[0])": (
            "torch takes index tensors on the CPU for a tensor on any device"
        ),
        "make_one_hot: y.shape[0] -> y.shape[-1]": "y has one axis, which is its first and its last",
        "make_one_hot: y.shape[0] -> y.shape[-1] #2": "y has one axis, which is its first and its last",
    },
)


def _sums_by_loop(a, b):
    return torch.stack([row + b for row in a])


def _adds_in_place(a, b):
    a += b[0]
    return a[:, None] + (b - b[0])


def _sums_in_float32(a, b):
    return a.float()[:, None, :] + b.float()[None, :, :]


def _repeated(a, b):
    return a.unsqueeze(1).repeat(1, b.shape[0], 1) + b.unsqueeze(0).repeat(a.shape[0], 1, 1)


def _sums_with_gaps(a, b):
    return (b[:, None] + a[None]).transpose(0, 1)


def _swaps_if_square(a, b):
    sums = a[:, None] + b[None]
    return sums.transpose(0, 1) if len(a) == len(b) else sums


pairwise_sums = Hidden(
    cases=[
        Case("one row each", a=normal(1, 4), b=normal(1, 4)),
        Case("one row in a", a=normal(1, 3), b=normal(5, 3)),
        Case("one row in b", a=normal(6, 2), b=normal(1, 2)),
        Case("one column", a=normal(4, 1), b=normal(3, 1)),
        Case("equally many rows", a=normal(5, 2), b=normal(5, 2)),
        Case("float32", a=normal(3, 7), b=normal(2, 7)).float32(),
        Case("non-contiguous", a=normal(4, 3), b=normal(6, 3)).strided(),
        Case("large numbers", a=normal(3, 4, std=1e8), b=normal(2, 4, std=1e8)),
    ],
    mutants={
        "loops over rows of a": _sums_by_loop,
        "adds in place": _adds_in_place,
        "exchanges the axes of square results": _swaps_if_square,
        "works on contiguous tensors only": lambda a, b: a.view(-1)[: a.numel()].view(len(a), 1, -1) + b[None],
        "works on five rows only": lambda a, b: a[:, None] + b[:5].expand(5, -1),
        "pairs a with itself": lambda a, b: a[:, None] + a[None],
        "adds a twice": lambda a, b: 2 * a[:, None] + b[None],
        "takes the mean of the two": lambda a, b: (a[:, None] + b[None]) / 2,
        "returns a only": lambda a, b: a[:, None].expand(-1, len(b), -1),
        "puts the columns first": lambda a, b: (a[:, None] + b[None]).permute(2, 0, 1),
        "takes absolute values": lambda a, b: (a[:, None] + b[None]).abs(),
        "converts to float64": lambda a, b: a.double()[:, None] + b.double()[None],
    },
    solutions={
        "float32 inside": _sums_in_float32,
        "repeated instead of broadcast": _repeated,
        "a transposed result": _sums_with_gaps,
        "view with sizes": lambda a, b: a.reshape(a.shape[0], 1, a.shape[1]) + b,
    },
)


def _products_by_loop(x, y):
    out = x.new_zeros(x.shape[0], x.shape[1], y.shape[2])
    for b in range(x.shape[0]):
        out[b] = x[b] @ y[b]
    return out


def _scales_in_place(x, y):
    x *= 2
    return x @ y / 2


def _products_by_broadcasting(x, y):
    return (x[:, :, :, None] * y[:, None, :, :]).sum(dim=2)


def _transposed_products(x, y):
    return (y.transpose(1, 2) @ x.transpose(1, 2)).transpose(1, 2)


def _swaps_if_equal(x, y):
    return y @ x if x.shape == y.shape else x @ y


batched_matmul = Hidden(
    cases=[
        Case("one matrix", x=normal(1, 2, 5), y=normal(1, 5, 3)),
        Case("a row times a column", x=normal(4, 1, 6), y=normal(4, 6, 1)),
        Case("a column times a row", x=normal(3, 5, 1), y=normal(3, 1, 2)),
        Case("single numbers", x=normal(5, 1, 1), y=normal(5, 1, 1)),
        Case("batch as large as a matrix", x=normal(4, 4, 4), y=normal(4, 4, 4)),
        Case("float32", x=normal(3, 2, 7), y=normal(3, 7, 4)).float32(),
        Case("non-contiguous", x=normal(2, 3, 5), y=normal(2, 5, 4)).strided(),
        Case("large numbers", x=normal(2, 3, 4, std=1e8), y=normal(2, 4, 2, std=1e8)),
    ],
    mutants={
        "loops over the batch": _products_by_loop,
        "doubles x in place": _scales_in_place,
        "multiplies square matrices in the opposite order": _swaps_if_equal,
        "works on contiguous tensors only": lambda x, y: x.view(-1).view(x.shape) @ y,
        "works on two matrices only": lambda x, y: torch.stack([x[0] @ y[0], x[1] @ y[1]]),
        "works on inner size 4 only": lambda x, y: (x.reshape(len(x), -1, 4)) @ y,
        "adds up over the wrong axis": lambda x, y: (x[:, :, :, None] * y[:, None, :, :]).sum(3),
        "leaves the last term out": lambda x, y: x[:, :, :-1] @ y[:, :-1],
        "returns the first product": lambda x, y: x[0] @ y[0],
        "runs the batch together": lambda x, y: (x @ y).flatten(0, 1),
        "takes the mean over the batch": lambda x, y: (x @ y).mean(0),
        "converts to float64": lambda x, y: x.double() @ y.double(),
        "drops axes of length 1": lambda x, y: (x @ y).squeeze(),
    },
    solutions={
        "matmul operator": lambda x, y: x @ y,
        "einsum": lambda x, y: torch.einsum("ijk,ikl->ijl", x, y),
        "products and a sum": _products_by_broadcasting,
        "a transposed result": _transposed_products,
        "float32 inside": lambda x, y: torch.bmm(x.float(), y.float()),
    },
)


def _by_formula(x):
    mean = x.sum(dim=0) / x.shape[0]
    deviation = x - mean
    std = ((deviation * deviation).sum(dim=0) / x.shape[0]) ** 0.5
    return deviation / torch.where(std > 0, std, torch.ones_like(std))


def _shifts_in_place(x):
    x -= x.mean(dim=0)
    std = x.std(dim=0, correction=0)
    return x / std.where(std > 0, 1)


def _divides_by_zero(x):
    return (x - x.mean(0)) / x.std(0, correction=0)


def _mean_of_squares(x):
    mean = x.mean(0)
    std = (x.square().mean(0) - mean.square()).clamp_min(0).sqrt()
    return (x - mean) / std.where(std > 0, 1)


def _keeps_constant_columns(x):
    std = x.std(0, correction=0)
    return torch.where(std > 0, (x - x.mean(0)) / std.where(std > 0, 1), x)


def _seven_rows(x):
    deviation = x - x.sum(0) / 7
    std = (deviation.square().sum(0) / 7).sqrt()
    return deviation / std.where(std > 0, 1)


def _by_column_loop(x):
    return torch.stack([_by_formula(column[:, None])[:, 0] for column in x.T], dim=1)


def _ones_on_the_cpu(x):
    std = x.std(0, correction=0)
    return (x - x.mean(0)) / torch.where(std > 0, std, torch.ones(x.shape[1], dtype=x.dtype))


def _by_transposing(x):
    rows = x.T
    centred = rows - rows.mean(1, keepdim=True)
    std = centred.square().mean(1, keepdim=True).sqrt()
    return (centred / std.masked_fill(std == 0, 1.0)).T


def _clamped(x):
    return (x - x.mean(0)) / x.std(0, correction=0).clamp_min(1e-12)


_MATRICES = {
    "one row": normal(1, 3, mean=2),
    "one column": normal(6, 1, mean=-1, std=4),
    "more columns than rows": normal(2, 7),
    "more rows than columns": normal(11, 2, mean=1),
    "two constant columns": given([[0.0, 1.0, -2.5], [0.0, 2.0, -2.5], [0.0, 4.0, -2.5]]),
    "large numbers": normal(5, 3, std=1e6),
    "one row and one column": normal(1, 1),
}
_FAR_FROM_ZERO = normal(6, 3, mean=300)


normalize_columns = Hidden(
    cases=[
        *(Case(name, x=matrix) for name, matrix in _MATRICES.items()),
        Case("float32, far from zero", x=_FAR_FROM_ZERO).float32(),
        Case("non-contiguous", x=normal(5, 4)).strided(),
    ],
    mutants={
        "subtracts the mean in place": _shifts_in_place,
        "divides by zero in constant columns": _divides_by_zero,
        "subtracts the square of the mean from the mean square": _mean_of_squares,
        "leaves constant columns as they are": _keeps_constant_columns,
        "works on seven rows only": _seven_rows,
        "loops over columns": _by_column_loop,
        "makes ones on the CPU": _ones_on_the_cpu,
        "scales columns to length 1": lambda x: (
            (x - x.mean(0)) / (x - x.mean(0)).norm(dim=0).where(x.std(0, correction=0) > 0, 1)
        ),
        "subtracts the median": lambda x: (
            (x - x.median(0).values) / x.std(0, correction=0).where(x.std(0, correction=0) > 0, 1)
        ),
        "divides by the mean absolute deviation": lambda x: (
            (x - x.mean(0)) / (x - x.mean(0)).abs().mean(0).where(x.std(0, correction=0) > 0, 1)
        ),
        "adds the mean": lambda x: (x + x.mean(0)) / x.std(0, correction=0).where(x.std(0, correction=0) > 0, 1),
        "converts to float64": lambda x: _by_formula(x.double()),
        "returns zeros": torch.zeros_like,
    },
    solutions={
        "written out": _by_formula,
        "transposed": _by_transposing,
        "clamped far below any spread": _clamped,
        "float32 inside": lambda x: _by_formula(x.float()),
    },
    equivalent={
        "normalize_columns: torch.where(std > 0, std, 1) -> torch.where(std > 0, std, 2)": (
            "where the standard deviation is zero, so is what it divides"
        ),
    },
)


def _statistics(train):
    mean = train.mean(dim=0)
    std = (train - mean).square().mean(dim=0).sqrt()
    return mean, torch.where(std == 0, torch.ones_like(std), std)


def _standardized(train, *others):
    mean, std = _statistics(train)
    return tuple((part - mean) / std for part in (train, *others))


def _standardized_list(train, *others):
    mean, std = _statistics(train)
    done = [(train - mean) / std]
    for other in others:
        done.append((other - mean) / std)
    return done


def _joined_and_split(train, *others):
    parts = (train, *others)
    mean, std = _statistics(train)
    return torch.split((torch.cat(parts) - mean) / std, [len(part) for part in parts])


def _standardizes_in_place(train, *others):
    mean, std = _statistics(train)
    for part in (train, *others):
        part.sub_(mean).div_(std)
    return (train, *others)


def _by_standardized_train(train, *others):
    scaled, *_ = _standardized(train)
    return (scaled, *(_standardized(scaled, other)[1] for other in others))


def _constant_by_zero(train, *others):
    mean, std = train.mean(0), train.std(0, correction=0)
    return tuple(((part - mean) / std).nan_to_num(0.0, 0.0, 0.0) for part in (train, *others))


def _last_part_for_all(train, *others):
    mean, std = _statistics(others[-1] if others else train)
    return tuple((part - mean) / std for part in (train, *others))


def _first_other_only(train, *others):
    return _standardized(train, *others[:1])


def _two_others(train, *others):
    val, test = others
    return _standardized(train, val, test)


def _others_as_list(train, *others):
    first, *rest = _standardized(train, *others)
    return first, rest


def _rows(train, *others):
    def scale(part):
        std = part.std(1, correction=0, keepdim=True)
        return (part - part.mean(1, keepdim=True)) / std.where(std > 0, 1)

    return tuple(scale(part) for part in (train, *others))


def _std_of_each(train, *others):
    mean = train.mean(0)
    return tuple((part - mean) / _statistics(part)[1] for part in (train, *others))


standardize = Hidden(
    cases=[
        Case("no other part", train=normal(5, 3, mean=2)),
        Case("three other parts", train=normal(6, 2), a=normal(1, 2), b=normal(3, 2), c=normal(6, 2)),
        Case("one training row", train=normal(1, 4), val=normal(3, 4)),
        Case("one feature", train=normal(7, 1, std=5), val=normal(2, 1)),
        Case("as many rows as features", train=normal(4, 4), val=normal(4, 4)),
        Case("parts of equal size that differ much", train=normal(5, 3), val=normal(5, 3, mean=9, std=7)),
        Case("two features constant in train", train=given([[0.0, 1.0, 2.0], [0.0, 5.0, 2.0]]), val=normal(3, 3)),
        Case("float32 images", train=normal(4, 3, 5, 2), test=normal(2, 3, 5, 2)).float32(),
        Case("float32, far from zero", train=_FAR_FROM_ZERO, val=_FAR_FROM_ZERO).float32(),
        Case("non-contiguous images", train=normal(4, 2, 3, 3), val=normal(3, 2, 3, 3)).strided(),
    ],
    mutants={
        "changes its inputs in place": _standardizes_in_place,
        "standardises others by the standardised training part": _by_standardized_train,
        "sets features that are constant in train to zero": _constant_by_zero,
        "takes the statistics of the last part": _last_part_for_all,
        "returns the first of the other parts only": _first_other_only,
        "wants exactly two other parts": _two_others,
        "returns the other parts as a list of their own": _others_as_list,
        "standardises rows": _rows,
        "divides each part by its own standard deviation": _std_of_each,
        "returns the training part only": lambda train, *others: _standardized(train),
        "returns a bare tensor": lambda train, *others: _standardized(train)[0],
        "returns everything in one tensor": lambda train, *others: torch.cat(_standardized(train, *others)),
        "exchanges the order of the parts": lambda train, *others: _standardized(train, *others)[::-1],
        "returns nothing": lambda train, *others: None,
    },
    solutions={
        "written out": _standardized,
        "a list": _standardized_list,
        "joined and split": _joined_and_split,
        "float32 inside": lambda train, *others: _standardized(train.float(), *(other.float() for other in others)),
    },
)
