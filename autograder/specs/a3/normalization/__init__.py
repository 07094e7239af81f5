"""Hidden cases, mutants and other solutions for solutions/a3/normalization.py."""

from .batch import batchnorm, batchnorm_backward_alt
from .images import instancenorm, spatial_groupnorm
from .rows import layernorm
from .spatial import spatial_batchnorm
from .steps import batchnorm_over_steps
from .weights import fold_batchnorm, weight_norm

__all__ = [
    "batchnorm",
    "batchnorm_backward_alt",
    "batchnorm_over_steps",
    "fold_batchnorm",
    "instancenorm",
    "layernorm",
    "spatial_batchnorm",
    "spatial_groupnorm",
    "weight_norm",
]
