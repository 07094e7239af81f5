"""Hidden cases, mutants and other solutions of the notebook on convolution."""

from .columns import adjoint_gap as adjoint_gap
from .columns import col2im as col2im
from .columns import im2col as im2col
from .costs import conv_cost as conv_cost
from .fast import conv_im2col as conv_im2col
from .light import depthwise_separable as depthwise_separable
from .light import pointwise_conv as pointwise_conv
from .naive import conv_naive as conv_naive
from .sizes import conv_output_size as conv_output_size
from .sizes import receptive_field as receptive_field
