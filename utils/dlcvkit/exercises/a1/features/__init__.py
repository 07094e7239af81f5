"""Hand-made features: colour histograms, histograms of oriented gradients, whitening, visual words."""

from .blocks import hog, normalize_blocks
from .cells import cell_histograms
from .colors import color_histogram
from .gradients import image_gradients
from .whitening import pca_whiten
from .words import bag_of_visual_words

__all__ = [
    "color_histogram",
    "image_gradients",
    "cell_histograms",
    "normalize_blocks",
    "hog",
    "pca_whiten",
    "bag_of_visual_words",
]
