"""Hidden cases, mutants and other solutions of the notebook on activations and initialization."""

from .gelu_and_maxout import gelu as gelu
from .gelu_and_maxout import maxout as maxout
from .initialization import dead_fraction as dead_fraction
from .initialization import initialize as initialize
from .initialization import layer_statistics as layer_statistics
from .rectifiers import elu as elu
from .rectifiers import leaky_relu as leaky_relu
from .rectifiers import selu as selu
from .squashing import sigmoid_activation as sigmoid_activation
from .squashing import tanh_activation as tanh_activation
