"""Style transfer: losses of content, style and smoothness, styles within masks and mixed, and parts of a fast net."""

from dlcvkit.exercises.a4.style_transfer.content import content_loss, tv_loss
from dlcvkit.exercises.a4.style_transfer.grams import gram_matrix, guided_gram_matrix
from dlcvkit.exercises.a4.style_transfer.style import style_loss, style_mix
from dlcvkit.exercises.a4.style_transfer.transform import conditional_instance_norm, upsample_conv

__all__ = [
    "content_loss",
    "gram_matrix",
    "style_loss",
    "tv_loss",
    "guided_gram_matrix",
    "style_mix",
    "conditional_instance_norm",
    "upsample_conv",
]
