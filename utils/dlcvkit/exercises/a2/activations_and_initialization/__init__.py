"""Activations and initialization: forward and backward of the activations, first weights, what becomes of a signal."""

from dlcvkit.exercises.a2.activations_and_initialization import (
    gelu_and_maxout,
    initialization,
    rectifiers,
    squashing,
)

# In the order of the notebook, which is the order of summaries.
sigmoid_activation = squashing.sigmoid_activation
tanh_activation = squashing.tanh_activation
leaky_relu = rectifiers.leaky_relu
elu = rectifiers.elu
selu = rectifiers.selu
gelu = gelu_and_maxout.gelu
maxout = gelu_and_maxout.maxout
initialize = initialization.initialize
layer_statistics = initialization.layer_statistics
dead_fraction = initialization.dead_fraction
