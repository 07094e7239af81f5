"""Hidden cases, mutants and other solutions for solutions/a1/features.py."""

from .blocks import hog as hog
from .blocks import normalize_blocks as normalize_blocks
from .cells import cell_histograms as cell_histograms
from .colors import color_histogram as color_histogram
from .gradients import image_gradients as image_gradients
from .whitening import pca_whiten as pca_whiten
from .words import bag_of_visual_words as bag_of_visual_words
