"""Hidden cases, mutants and other solutions of the notebook on the two-layer net."""

from .layers import affine as affine
from .layers import relu as relu
from .losses import softmax_loss as softmax_loss
from .losses import svm_loss as svm_loss
from .net import initialize_weights as initialize_weights
from .net import two_layer_net as two_layer_net
