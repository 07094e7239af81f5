"""Pooling, unpooling, transposed convolution, bilinear upsampling, and fully-connected layers that slide."""

from dlcvkit.exercises.a3.pooling_and_upsampling.pooling import max_pool
from dlcvkit.exercises.a3.pooling_and_upsampling.pooling_means import avg_pool
from dlcvkit.exercises.a3.pooling_and_upsampling.switches import max_pool_switches, max_unpool
from dlcvkit.exercises.a3.pooling_and_upsampling.transposing import conv_matrix, conv_transpose
from dlcvkit.exercises.a3.pooling_and_upsampling.transposing_sizes import output_pad
from dlcvkit.exercises.a3.pooling_and_upsampling.transposing_tests import conv_adjoint
from dlcvkit.exercises.a3.pooling_and_upsampling.upsampling import bilinear_upsample
from dlcvkit.exercises.a3.pooling_and_upsampling.windows import fc_to_conv

__all__ = [
    "max_pool",
    "avg_pool",
    "max_pool_switches",
    "max_unpool",
    "conv_matrix",
    "conv_transpose",
    "output_pad",
    "conv_adjoint",
    "bilinear_upsample",
    "fc_to_conv",
]
