"""Hidden cases, mutants and other solutions for solutions/a4/vision_transformer.py."""

from .cost import vit_cost
from .embedding import as_convolution, patch_embedding
from .looking import attention_maps, attention_rollout
from .patches import patchify, unpatchify
from .positions import add_class_token, interpolate_positions
from .whole import vit

__all__ = [
    "add_class_token",
    "as_convolution",
    "attention_maps",
    "attention_rollout",
    "interpolate_positions",
    "patch_embedding",
    "patchify",
    "unpatchify",
    "vit",
    "vit_cost",
]
