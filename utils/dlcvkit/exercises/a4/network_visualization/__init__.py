"""Looking into a trained network: gradients with respect to the image, and what can be done with them."""

from dlcvkit.exercises.a4.network_visualization.ascent import class_visualization_step, deepdream_step
from dlcvkit.exercises.a4.network_visualization.fooling import fooling_image
from dlcvkit.exercises.a4.network_visualization.gradients import guided_backprop, saliency_map, score_gradient
from dlcvkit.exercises.a4.network_visualization.inversion import invert_features
from dlcvkit.exercises.a4.network_visualization.occlusion import occlusion_map

__all__ = [
    "score_gradient",
    "saliency_map",
    "fooling_image",
    "occlusion_map",
    "guided_backprop",
    "class_visualization_step",
    "invert_features",
    "deepdream_step",
]
