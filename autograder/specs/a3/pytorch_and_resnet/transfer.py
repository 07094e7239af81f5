"""Freezing a trained net for other classes."""

from __future__ import annotations

from torch import nn

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a3.pytorch_and_resnet.transfer import transfer_case


def _freeze(fault=""):
    def freeze_for_transfer(net, num_classes):
        old = net.fc
        place = {"device": old.weight.device, "dtype": old.weight.dtype}
        if fault == "default dtype":
            place = {"device": old.weight.device}
        if fault == "head made first":
            net.fc = nn.Linear(old.in_features, num_classes, **place)
        for name, parameter in net.named_parameters():
            if fault == "batch norms stay trainable" and parameter.dim() == 1 and not name.startswith("fc"):
                continue
            if fault == "biases stay trainable" and name == "last.bias":
                continue
            if fault == "first layer only" and not name.startswith("stem"):
                continue
            if fault == "turns the switch" and not name.startswith("fc"):
                parameter.requires_grad = not parameter.requires_grad
                continue
            parameter.requires_grad_(fault == "freezes nothing")
        bias = fault != "no bias"
        if fault not in ("head made first", "keeps the old head", "rows of the old head"):
            net.fc = nn.Linear(old.in_features, num_classes, bias=bias, **place)
        if fault == "old classes":
            net.fc = nn.Linear(old.in_features, old.out_features, **place)
        if fault == "a sequence":
            net.fc = nn.Sequential(net.fc)
        if fault == "starts at 0":
            nn.init.zeros_(net.fc.weight)
        if fault == "keeps the old head if it fits" and num_classes == old.out_features:
            net.fc = old.requires_grad_()
        if fault == "keeps the old head":
            old.requires_grad_()
        if fault == "resets the statistics":
            net.stem[1].reset_running_stats()
            net.stem[1].running_mean += 1
        if fault == "leaves the mode alone":
            pass
        elif fault == "only outer batch norms in evaluation":
            net.norm.eval()
        elif fault == "batch norms alone in evaluation":
            net.stem[1].eval()
            net.norm.eval()
        elif fault == "training mode":
            net.train()
        else:
            net.eval()
        return {
            "all parameters": lambda: list(net.parameters()),
            "parameters of the old head": lambda: list(old.parameters()),
            "weight alone": lambda: [net.fc.weight],
            "returns nothing": lambda: None,
            "returns the net": lambda: net,
            "a generator": lambda: net.fc.parameters(),
        }.get(fault, lambda: list(net.fc.parameters()))()

    return freeze_for_transfer


def _by_method(net, num_classes):
    """The module's own requires_grad_, and a layer like the old weight."""
    net.requires_grad_(False).eval()
    head = nn.Linear(net.fc.weight.shape[1], num_classes).to(net.fc.weight)
    net.fc = head.eval()
    return [head.weight, head.bias]


def _by_filter(net, num_classes):
    """The head first, then everything else by name."""
    features = net.fc.in_features
    some = next(net.parameters())
    setattr(net, "fc", nn.Linear(features, num_classes).to(device=some.device, dtype=some.dtype))  # noqa: B010
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.partition(".")[0] == "fc")
    for module in net.modules():
        module.training = False
    return tuple(filter(lambda p: p.requires_grad, net.parameters()))


freeze_for_transfer = Hidden(
    cases=[
        transfer_case("as many classes as before", 4, 3, 3),
        transfer_case("one new class", 5, 4, 1),
        transfer_case("one feature", 1, 3, 4),
        transfer_case("frozen already", 4, 5, 2, frozen_before=["stem", "last", "norm", "fc"]),
        transfer_case("partly frozen", 4, 5, 2, frozen_before=["stem"]),
        transfer_case("as many classes as before, float64", 3, 4, 4, dtype="float64", mode="evaluation"),
    ],
    mutants={
        fault: _freeze(fault)
        for fault in (
            "default dtype",
            "head made first",
            "batch norms stay trainable",
            "biases stay trainable",
            "first layer only",
            "turns the switch",
            "freezes nothing",
            "no bias",
            "keeps the old head",
            "old classes",
            "a sequence",
            "starts at 0",
            "keeps the old head if it fits",
            "resets the statistics",
            "leaves the mode alone",
            "only outer batch norms in evaluation",
            "batch norms alone in evaluation",
            "training mode",
            "all parameters",
            "parameters of the old head",
            "weight alone",
            "returns nothing",
            "returns the net",
            "a generator",
        )
    },
    solutions={"requires_grad_ of the module": _by_method, "by name": _by_filter},
)
