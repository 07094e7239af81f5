"""Convolutional nets: a sandwich of layers, first weights, a shallow and a deep net, augmentation, and pictures."""

from dlcvkit.exercises.a3.convnets.deep import deep_convnet
from dlcvkit.exercises.a3.convnets.layers import conv_relu_pool
from dlcvkit.exercises.a3.convnets.pictures import augment, stretch_to_images
from dlcvkit.exercises.a3.convnets.shallow import three_layer_convnet
from dlcvkit.exercises.a3.convnets.weights import kaiming_weights

__all__ = [
    "conv_relu_pool",
    "kaiming_weights",
    "three_layer_convnet",
    "stretch_to_images",
    "deep_convnet",
    "augment",
]
