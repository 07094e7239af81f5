"""Hidden cases, mutants and other solutions for solutions/a3/pytorch_and_resnet.py."""

from .bare import convnet_by_layers, convnet_by_module, convnet_by_tensors
from .blocks import bottleneck_block, plain_block, residual_block
from .branches import depthwise_separable_block, inception_block, squeeze_excite
from .loops import evaluate_accuracy, train_step
from .transfer import freeze_for_transfer
from .whole import resnet

__all__ = [
    "bottleneck_block",
    "convnet_by_layers",
    "convnet_by_module",
    "convnet_by_tensors",
    "depthwise_separable_block",
    "evaluate_accuracy",
    "freeze_for_transfer",
    "inception_block",
    "plain_block",
    "residual_block",
    "resnet",
    "squeeze_excite",
    "train_step",
]
