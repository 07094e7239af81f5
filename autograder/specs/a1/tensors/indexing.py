"""Rows by a mask, one entry of each row, labels as one-hot rows."""

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
