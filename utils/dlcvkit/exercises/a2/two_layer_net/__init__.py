"""A two-layer net: affine and ReLU layers, losses of scores, first weights, and the net itself."""

from dlcvkit.exercises.a2.two_layer_net.layers import affine, relu
from dlcvkit.exercises.a2.two_layer_net.losses import softmax_loss, svm_loss
from dlcvkit.exercises.a2.two_layer_net.net import initialize_weights, two_layer_net

__all__ = [
    "affine",
    "relu",
    "softmax_loss",
    "svm_loss",
    "initialize_weights",
    "two_layer_net",
]
