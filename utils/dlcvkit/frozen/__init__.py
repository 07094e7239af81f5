"""Trained networks that notebooks look into: the kit's own small CNN, and SqueezeNet once it is downloaded."""

from dlcvkit.frozen.network import FrozenNetwork, small_cnn
from dlcvkit.frozen.weights import FrozenError, load_frozen, read_weights, write_weights

__all__ = ["FrozenError", "FrozenNetwork", "load_frozen", "read_weights", "small_cnn", "write_weights"]
