"""Vision transformer: images as sequences of patches, the net, what it costs and where it looks."""

from dlcvkit.exercises.a4.vision_transformer import cost, embedding, looking, patches, positions, whole

# In the order of the notebook, which is the order of summaries.
patchify = patches.patchify
unpatchify = patches.unpatchify
patch_embedding = embedding.patch_embedding
as_convolution = embedding.as_convolution
add_class_token = positions.add_class_token
vit = whole.vit
vit_cost = cost.vit_cost
interpolate_positions = positions.interpolate_positions
attention_maps = looking.attention_maps
attention_rollout = looking.attention_rollout
