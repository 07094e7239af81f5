"""Small networks made from the weights of a case, and how the functions of this notebook are called with them."""

from __future__ import annotations

import torch
from torch import nn

from dlcvkit.checking import Finding, Interrupted, Kind, gradients_by_autograd
from dlcvkit.checking.values import leaves, shape_text

INPUT_HINT = "work on a copy that requires gradients, and leave the tensor that came in as it is"
OUTPUT_HINT = "detach what you return, or compute it where no gradients are recorded"


class Watched(nn.Module):
    """A model that refuses what is no batch of images, and notes the largest batch it was given."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers
        self.largest = 0

    def forward(self, images):
        if images.dim() != 4:
            raise ValueError(f"the model takes images of shape (N, C, H, W), not {shape_text(images)}")
        self.largest = max(self.largest, len(images))
        return self.layers(images)


class Mean(nn.Module):
    def forward(self, maps):
        return maps.mean(dim=(2, 3))


def feature_layers(weights, activation=nn.ReLU):
    """Return convolutions with padding 1, each followed by an activation: one for each ``kernel...`` of the weights."""
    layers = []
    for name in sorted(each for each in weights if each.startswith("kernel")):
        kernel = weights[name]
        layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, bias=False)
        layer.weight = nn.Parameter(kernel.detach().clone())
        layers += [layer, activation()]
    return nn.Sequential(*layers)


def classifier(weights, activation=nn.ReLU):
    """Return a net with weights that require gradients, as those of a net do that was not frozen.

    Args:
        weights: ``matrix`` (K, F) and ``bias`` (K,); with kernels, the F features are means of maps, else pixels.
        activation: Makes the module after each convolution.
    """
    matrix, bias = weights["matrix"], weights["bias"]
    head = nn.Linear(matrix.shape[1], len(matrix))
    head.weight, head.bias = nn.Parameter(matrix.detach().clone()), nn.Parameter(bias.detach().clone())
    convolutions = feature_layers(weights, activation)
    middle = Mean() if len(convolutions) else nn.Flatten()
    return Watched(nn.Sequential(convolutions, middle, head))  # nested, as real nets are


def features(weights, activation=nn.ReLU):
    """Return the maps after the last activation, as a model of its own."""
    return Watched(feature_layers(weights, activation))


def ran(function, *arguments, **inputs):
    """Call a student's function as a notebook does, where gradients can be computed, and look at what it leaves.

    Args:
        function: The student's function.
        arguments: What it is called with.
        inputs: The tensors among the arguments by name; none may require gradients afterwards.

    Raises:
        Interrupted: If an input requires gradients afterwards, or the result does.
    """
    with torch.enable_grad():
        result = function(*arguments)
    for name, tensor in inputs.items():
        if tensor.requires_grad:
            text = f"{name}.requires_grad is True once the function has run; expected inputs left as they were"
            raise Interrupted(Finding(Kind.MUTATED, text, hint=INPUT_HINT))
    if any(isinstance(leaf, torch.Tensor) and leaf.requires_grad for _, leaf in leaves(result)):
        text = "the result still requires gradients; expected a plain tensor"
        raise Interrupted(Finding(Kind.STRUCTURE, text, hint=OUTPUT_HINT))
    return result


def gradient_of(objective, images):
    """Return the gradient of ``objective(images)``, a number, with respect to the images."""
    _, gradients = gradients_by_autograd(lambda variables: objective(variables["images"]), {"images": images})
    return gradients["images"]


def chosen(scores, labels):
    """Return the sum over the images of the score of each one's class."""
    return (scores * nn.functional.one_hot(labels, scores.shape[1])).sum()
