"""PyTorch and residual networks: one net three times, the two loops, blocks, the ResNet, and transfer."""

from dlcvkit.exercises.a3.pytorch_and_resnet import bare, branches, loops, residual, transfer, whole

# In the order of the notebook, which is the order of summaries.
convnet_by_tensors = bare.convnet_by_tensors
convnet_by_module = bare.convnet_by_module
convnet_by_layers = bare.convnet_by_layers
train_step = loops.train_step
evaluate_accuracy = loops.evaluate_accuracy
plain_block = residual.plain_block
residual_block = residual.residual_block
bottleneck_block = residual.bottleneck_block
inception_block = branches.inception_block
squeeze_excite = branches.squeeze_excite
depthwise_separable_block = branches.depthwise_separable_block
resnet = whole.resnet
freeze_for_transfer = transfer.freeze_for_transfer
