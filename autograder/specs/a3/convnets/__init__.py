"""Hidden cases, mutants and other solutions for solutions/a3/convnets.py."""

from .deep import deep_convnet
from .layers import conv_relu_pool
from .pictures import augment, stretch_to_images
from .shallow import three_layer_convnet
from .weights import kaiming_weights

__all__ = [
    "augment",
    "conv_relu_pool",
    "deep_convnet",
    "kaiming_weights",
    "stretch_to_images",
    "three_layer_convnet",
]
