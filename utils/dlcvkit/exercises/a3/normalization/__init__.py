"""Normalization: by batch, layer, group and instance, of weights, and folded into a convolution."""

from dlcvkit.exercises.a3.normalization import batch, channels, groups, steps, weights

# In the order of the notebook, which is the order of summaries.
batchnorm = batch.batchnorm
batchnorm_backward_alt = batch.batchnorm_backward_alt
batchnorm_over_steps = steps.batchnorm_over_steps
spatial_batchnorm = channels.spatial_batchnorm
fold_batchnorm = weights.fold_batchnorm
layernorm = groups.layernorm
spatial_groupnorm = groups.spatial_groupnorm
instancenorm = groups.instancenorm
weight_norm = weights.weight_norm
