"""Convolution: by definition, as a matrix product, in cheaper forms, how far it sees and what it costs."""

from dlcvkit.exercises.a3.convolution.arithmetic import conv_output_size
from dlcvkit.exercises.a3.convolution.by_definition import conv_naive
from dlcvkit.exercises.a3.convolution.columns import adjoint_gap, col2im, im2col
from dlcvkit.exercises.a3.convolution.fast import conv_im2col
from dlcvkit.exercises.a3.convolution.light import depthwise_separable, pointwise_conv
from dlcvkit.exercises.a3.convolution.reach import receptive_field
from dlcvkit.exercises.a3.convolution.table import conv_cost

__all__ = [
    "conv_output_size",
    "conv_naive",
    "im2col",
    "col2im",
    "adjoint_gap",
    "conv_im2col",
    "pointwise_conv",
    "depthwise_separable",
    "receptive_field",
    "conv_cost",
]
