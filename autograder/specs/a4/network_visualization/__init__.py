"""Hidden cases, mutants and other solutions for solutions/a4/network_visualization.py."""

from .ascent import class_visualization_step, deepdream_step
from .fooling import fooling_image
from .gradients import guided_backprop, saliency_map, score_gradient
from .inversion import invert_features
from .occlusion import occlusion_map

__all__ = [
    "class_visualization_step",
    "deepdream_step",
    "fooling_image",
    "guided_backprop",
    "invert_features",
    "occlusion_map",
    "saliency_map",
    "score_gradient",
]
