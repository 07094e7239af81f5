"""Hidden cases, mutants and other solutions for solutions/a4/style_transfer.py."""

from .grams import gram_matrix, guided_gram_matrix
from .losses import content_loss, tv_loss
from .styles import style_loss, style_mix
from .transforms import conditional_instance_norm, upsample_conv

__all__ = [
    "conditional_instance_norm",
    "content_loss",
    "gram_matrix",
    "guided_gram_matrix",
    "style_loss",
    "style_mix",
    "tv_loss",
    "upsample_conv",
]
