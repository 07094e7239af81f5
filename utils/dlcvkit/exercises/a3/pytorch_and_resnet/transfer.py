"""Freezing a trained net for other classes."""

from __future__ import annotations

import torch
from torch import nn

from dlcvkit.checking import Case, Invariant, given, messages


class _Trained(nn.Module):
    """A net whose last layer is fc, with batch norms at two depths, and dropout."""

    def __init__(self, features, K):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 3, kernel_size=3, bias=False), nn.BatchNorm2d(3), nn.Dropout(0.2))
        self.last = nn.Conv2d(3, features, kernel_size=1)
        self.norm = nn.BatchNorm2d(features)
        self.fc = nn.Linear(features, K)

    def forward(self, x):
        return self.fc(self.norm(self.last(self.stem(x))).relu().flatten(2).mean(2))


def _freeze(freeze, features, old_classes, num_classes, mode, frozen_before, dtype, home):
    net = _Trained(features, old_classes).to(device=home.device, dtype=getattr(torch, dtype))
    net.train(mode == "training")
    for name, parameter in net.named_parameters():
        parameter.requires_grad = not name.startswith(tuple(frozen_before))
    before = {name: value.clone() for name, value in net.state_dict().items() if not name.startswith("fc")}
    old = net.fc
    old_weight = old.weight.detach().clone()
    given_back = freeze(net, num_classes)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    old_names = {id(parameter): f"the old fc.{name}" for name, parameter in old.named_parameters()}
    is_listed = isinstance(given_back, list | tuple)
    # A device without memory stands in for a GPU.
    elsewhere = _Trained(features, old_classes).to("meta")
    freeze(elsewhere, num_classes)
    state = net.state_dict()
    fc = net.fc
    is_linear = isinstance(fc, nn.Linear)
    return {
        "requires": {name: parameter.requires_grad for name, parameter in net.named_parameters()},
        "changed": [name for name in before if name not in state or not torch.equal(state[name], before[name])],
        "kind": type(fc).__name__,
        "shape": tuple(fc.weight.shape) if is_linear else None,
        "bias": tuple(fc.bias.shape) if is_linear and fc.bias is not None else None,
        "place": f"{fc.weight.dtype}, {fc.weight.device.type}" if is_linear else None,
        "moves": getattr(getattr(elsewhere.fc, "weight", None), "is_meta", False),
        "old_place": f"{old_weight.dtype}, {old_weight.device.type}",
        "is_new": is_linear and fc is not old and _differ(fc.weight, old_weight),
        "has_spread": is_linear and bool((fc.weight != fc.weight.flatten()[0]).any()),
        "type": "None" if given_back is None else f"a {type(given_back).__name__}",
        "parameters": [names.get(id(p), old_names.get(id(p), "something else")) for p in given_back]
        if is_listed
        else None,
        "training": [name or "the net itself" for name, module in net.named_modules() if module.training],
    }


def _differ(new, old):
    return new.shape != old.shape or not torch.equal(new.detach(), old)


def _are_frozen(result, **inputs):
    still = [name for name, wants in result["requires"].items() if wants and not name.startswith("fc.")]
    if still:
        return f"gradients are still required for {messages.listing(still)}; expected for none but fc"
    if result["changed"]:
        return f"{messages.listing(result['changed'])} changed; expected all but fc as it was"
    return None


def _has_head(result, features, num_classes, **inputs):
    if result["kind"] != "Linear":
        return f"net.fc is a {result['kind']}; expected a new nn.Linear"
    if result["shape"] != (num_classes, features):
        return f"the weight of net.fc has shape {result['shape']}; expected {(num_classes, features)}"
    if result["bias"] is None:
        return "net.fc has no bias; expected one"
    if not result["is_new"]:
        return "net.fc is the old layer, or has its weights; expected a new one"
    if not result["has_spread"] and num_classes * features > 1:
        return "all weights of net.fc are equal; expected the first weights that nn.Linear draws"
    if result["place"] != result["old_place"]:
        return f"the weight of net.fc is of {result['place']}; expected {result['old_place']}, like the old one"
    idle = [name for name in ("fc.weight", "fc.bias") if not result["requires"].get(name, False)]
    if idle:
        return f"no gradient is required for {messages.listing(idle)}; expected the new layer to be trained"
    if not result["moves"]:
        return "net.fc is made on the CPU whatever the device of the old layer; expected the same device"
    return None


def _are_parameters(result, **inputs):
    if result["parameters"] is None:
        return f"returned {result['type']}; expected a list of two parameters"
    if sorted(result["parameters"]) != ["fc.bias", "fc.weight"]:
        got = messages.listing(result["parameters"] or ["nothing"])
        return f"the list holds {got}; expected fc.weight and fc.bias of the new layer"
    return None


def _is_evaluating(result, **inputs):
    if result["training"]:
        return f"in training mode: {messages.listing(result['training'])}; expected all in evaluation mode"
    return None


# ``home`` says on which device the net is to be.
def transfer_case(name, features, old_classes, num_classes, *, mode="training", frozen_before=(), dtype="float32"):
    """Describe a trained net."""
    return Case(
        name,
        features=features,
        old_classes=old_classes,
        num_classes=num_classes,
        mode=mode,
        frozen_before=list(frozen_before),
        dtype=dtype,
        home=given([0.0]),
    )


freeze_for_transfer = Invariant(
    functions=("freeze_for_transfer",),
    call=_freeze,
    cases=[
        transfer_case("from 5 to 3 classes", 4, 5, 3),
        transfer_case("float64, from evaluation mode", 6, 2, 7, mode="evaluation", dtype="float64"),
    ],
    properties={
        "frozen": _are_frozen,
        "head": _has_head,
        "parameters": _are_parameters,
        "evaluation": _is_evaluating,
    },
    points={"frozen": 1, "head": 2, "parameters": 1, "evaluation": 1},
    hints={
        "frozen": "net.parameters() gives every parameter, batch norms included; requires_grad can be set",
        "head": "the old layer tells in_features, device and dtype; the new one is made after the others are frozen",
        "parameters": "the optimiser gets the weight and the bias of the layer that stands in net.fc now",
        "evaluation": "frozen batch norms must not move their running statistics: which method sets the mode of all?",
    },
)
