"""Hidden cases, mutants and other solutions for solutions/a3/pooling_and_upsampling.py."""

from .pooling import avg_pool, max_pool
from .switches import max_pool_switches, max_unpool
from .transposing import conv_matrix, conv_transpose
from .transposing_sizes import conv_adjoint, output_pad
from .upsampling import bilinear_upsample
from .windows import fc_to_conv

__all__ = [
    "avg_pool",
    "bilinear_upsample",
    "conv_adjoint",
    "conv_matrix",
    "conv_transpose",
    "fc_to_conv",
    "max_pool",
    "max_pool_switches",
    "max_unpool",
    "output_pad",
]
