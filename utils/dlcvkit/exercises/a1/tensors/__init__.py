"""Tensors: indexing, broadcasting, batches of matrices, statistics along an axis."""

from .broadcasting import batched_matmul, pairwise_sums
from .indexing import make_one_hot, select_rows_by_mask, take_one_per_row
from .statistics import normalize_columns, standardize

__all__ = [
    "select_rows_by_mask",
    "take_one_per_row",
    "make_one_hot",
    "pairwise_sums",
    "batched_matmul",
    "normalize_columns",
    "standardize",
]
