"""Hidden cases, mutants and other solutions for solutions/a1/tensors.py."""

from .broadcasting import batched_matmul as batched_matmul
from .broadcasting import pairwise_sums as pairwise_sums
from .indexing import make_one_hot as make_one_hot
from .indexing import select_rows_by_mask as select_rows_by_mask
from .indexing import take_one_per_row as take_one_per_row
from .statistics import normalize_columns as normalize_columns
from .statistics import standardize as standardize
