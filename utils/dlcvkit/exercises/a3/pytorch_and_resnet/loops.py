"""One training step, and evaluation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Finding, Function, Interrupted, Kind, Mistake, drawn, given, integers, normal
from dlcvkit.checking.module import load_params
from dlcvkit.checking.values import kind_of
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import (
    conv_weights,
    convolve,
    fc_weights,
    norm_weights,
    normalise,
    parameters_among,
    transform,
)

_LEFT_OVER = 0.3


class Tiny(nn.Module):
    """A convolution, a batch norm, ReLU, the mean over the pixels, an affine layer."""

    def __init__(self, channels, width, K):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding="same", bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, K)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).relu().flatten(2).mean(2))


def _tiny(x, weights, is_training):
    h = normalise(convolve(x, weights, "conv"), weights, "bn", is_training).relu()
    return transform(h.flatten(2).mean(2), weights, "fc")


def _demand_float(value, function, values, quantity):
    """Raise Interrupted, with the other quantities, if a value is no Python float."""
    if not isinstance(value, float):
        got = "None" if value is None else f"a {kind_of(value)}"
        hint = "a tensor of one entry has a method that gives a Python number"
        text = f"{function} returned {got}; expected a Python float"
        raise Interrupted(Finding(Kind.STRUCTURE, text, hint=hint), values, [quantity])


def _two_steps(train_step, params, x, y, lr, momentum, keep_statistics, trained):
    net = Tiny(x.shape[2], params["conv.weight"].shape[0], params["fc.bias"].shape[0])
    load_params(net, params, "the net")
    by_name = dict(net.named_parameters())
    for parameter in by_name.values():
        parameter.grad = torch.full_like(parameter, _LEFT_OVER)
    optimiser = torch.optim.SGD([by_name[name] for name in trained], lr=lr, momentum=momentum)
    losses = []
    with torch.enable_grad():
        for images, labels in zip(x, y, strict=True):
            net.train(keep_statistics)  # the mode that is not wanted
            # As an argument that stands for the default where it is the default.
            options = {"keep_statistics": True} if keep_statistics else {}
            loss = train_step(net, images, labels, optimiser, **options)
            losses.append(loss)
    state = net.state_dict()
    weights = {name: state[name] for name in by_name}
    values = losses, weights, {name: state[name] for name in ("bn.running_mean", "bn.running_var")}
    for loss in losses:
        _demand_float(loss, "train_step", values, "loss")
    return values


def _steps(
    params,
    x,
    y,
    lr,
    momentum,
    keep_statistics,
    trained,
    *,
    clears="before",
    mode=None,
    factor=1.0,
    reduction="mean",
    is_late=False,
    steps=True,
    rises=False,
    uses_softmax=False,
    is_first=False,
):
    """Two steps by hand; each keyword switches a mistake on."""
    weights = {name: value.detach().clone() for name, value in params.items()}
    names = list(parameters_among(weights))
    left = {name: torch.full_like(weights[name], _LEFT_OVER) for name in names}
    velocity = {}
    losses = []
    is_training = not keep_statistics if mode is None else mode
    for images, labels in zip(x, y, strict=True):

        def loss_of(values, images=images, labels=labels):
            scores = _tiny(images, {**weights, **values}, is_training)
            scores = scores.softmax(1) if uses_softmax else scores
            return functional.cross_entropy(scores, labels, reduction=reduction)

        with torch.enable_grad():
            variables = {name: weights[name].detach().clone().requires_grad_() for name in names}
            loss = loss_of(variables)
            found = dict(zip(names, torch.autograd.grad(loss, list(variables.values())), strict=True))
        if is_training:
            _move_statistics(weights, images)
        for name in trained:
            gradient = found[name] * factor + (left[name] if clears == "never" else 0)
            left[name] = gradient
            if clears == "after":
                gradient = torch.zeros_like(gradient)
            if is_first:
                gradient = torch.full_like(gradient, _LEFT_OVER) if not losses else velocity[name, "old"]
                velocity[name, "old"] = found[name]
            velocity[name] = momentum * velocity[name] + gradient if name in velocity else gradient
            if steps:
                weights[name] = weights[name] + (lr if rises else -lr) * velocity[name]
        losses.append(float(loss_of({})) if is_late else float(loss.detach()))
    kept = {name: weights[name] for name in names}
    return losses, kept, {name: weights[name] for name in ("bn.running_mean", "bn.running_var")}


def _move_statistics(weights, images):
    """Let torch's batch norm see one batch."""
    h = convolve(images, weights, "conv")
    for name in ("bn.running_mean", "bn.running_var"):
        weights[name] = weights[name].clone()
    functional.batch_norm(h, weights["bn.running_mean"], weights["bn.running_var"], training=True)


def _stepping(**flags):
    return lambda **inputs: _steps(**inputs, **flags)


_ALL = ("conv.weight", "bn.weight", "bn.bias", "fc.weight", "fc.bias")


def step_case(
    name, N, channels, sizes, width, K, *, momentum=0.0, keep_statistics=False, lr=0.5, trained=_ALL, std=1.0
):
    """Describe two steps on a tiny net."""
    params = conv_weights("conv", width, channels, 3) | norm_weights("bn", width) | fc_weights("fc", K, width)
    return Case(
        name,
        params=params,
        x=normal(2, N, channels, *sizes, std=std),
        y=integers(2, N, high=K),
        lr=lr,
        momentum=momentum,
        keep_statistics=keep_statistics,
        trained=list(trained),
    )


train_step = Function(
    functions=("train_step",),
    reference=_stepping(),
    call=_two_steps,
    cases=[
        step_case("two steps", 5, 2, (4, 3), 4, 3),
        step_case("keep_statistics", 4, 3, (3, 5), 5, 4, keep_statistics=True, momentum=0.9),
    ],
    points={"loss": 1, "weights": 2, "statistics": 1},
    mistakes=[
        Mistake(
            "does not clear the gradients of the step before",
            _stepping(clears="never"),
            hint="backward adds to what stands in .grad: what is left there from before?",
        ),
        Mistake(
            "clears the gradients between backward and the step",
            _stepping(clears="after"),
            hint="what does the optimiser find in .grad when it steps?",
        ),
        Mistake(
            "steps before backward",
            _stepping(is_first=True),
            hint="the optimiser uses what backward has left in .grad",
        ),
        Mistake("does not step", _stepping(steps=False), hint="who changes the weights?"),
        Mistake(
            "always takes the step in evaluation mode",
            _stepping(mode=False),
            hint="the net may come in any mode: which one does keep_statistics ask for?",
        ),
        Mistake(
            "always takes the step in training mode",
            _stepping(mode=True),
            hint="the net may come in any mode: which one does keep_statistics ask for?",
        ),
        Mistake(
            "adds the losses of the images up instead of averaging them",
            _stepping(reduction="sum"),
            hint="the loss is the mean over the batch, as F.cross_entropy gives it",
        ),
        Mistake(
            "returns the loss after the step",
            _stepping(is_late=True),
            hint="the loss that is returned is the one that was differentiated",
        ),
        Mistake(
            "applies softmax before the cross-entropy",
            _stepping(uses_softmax=True),
            hint="F.cross_entropy takes scores; softmax is in it",
        ),
        Mistake("steps uphill", _stepping(rises=True), hint="look at the sign of the loss"),
    ],
)


class _Watched(nn.Module):
    """Takes its images, (N, K, 1, 1), for scores, and notes how it is asked; in training mode it answers wrongly."""

    def __init__(self, batch_size):
        super().__init__()
        self.inside = nn.Dropout(0.5)
        self.batch_size = batch_size
        self.seen = set()

    def forward(self, x):
        in_training = self.training or self.inside.training
        self.seen |= {
            "in training mode" if in_training else "in evaluation mode",
            "with a graph" if torch.is_grad_enabled() else "without a graph",
            "in parts of at most batch_size" if len(x) <= self.batch_size else "more than batch_size at once",
        }
        scores = x.flatten(1)
        return scores.roll(1, 1) if in_training else scores


_RIGHT = ("in evaluation mode", "in parts of at most batch_size", "without a graph")


def _watch(evaluate, x, y, batch_size, was_training):
    net = _Watched(batch_size).train(was_training)
    with torch.enable_grad():
        accuracy = evaluate(net, x, y, batch_size)
    modes = {module.training for module in net.modules()}
    after = "modes are mixed" if len(modes) > 1 else "training mode" if modes == {True} else "evaluation mode"
    values = accuracy, ", ".join(sorted(net.seen)), after
    _demand_float(accuracy, "evaluate_accuracy", values, "accuracy")
    return values


def _accuracy(
    x,
    y,
    batch_size,
    was_training,
    *,
    seen=_RIGHT,
    after=None,
    count=lambda right, batch_size: right.double().mean(),
    turned=False,
):
    """What is measured; each keyword switches a mistake on."""
    scores = x.flatten(1).roll(1, 1) if turned else x.flatten(1)
    right = scores.max(1).indices == y
    mode = was_training if after is None else after
    modes = "training mode" if mode else "evaluation mode"
    return float(count(right, batch_size)), ", ".join(sorted(seen)), modes


def _counting(**flags):
    return lambda **inputs: _accuracy(**inputs, **flags)


def _as_it_is(*others):
    """The mode is left as it is, and the rest is done as said."""

    def variant(x, y, batch_size, was_training):
        mode = "in training mode" if was_training else "in evaluation mode"
        return _accuracy(x, y, batch_size, was_training, seen=(mode, *others), turned=was_training)

    return variant


def accuracy_case(name, N, K, batch_size, was_training, scores=None, y=None):
    """Describe the scores, (N, K, 1, 1), of N images of which about half are right."""

    def draw(g):
        values = torch.randn(N, K, 1, 1, generator=g, dtype=torch.float64)
        # Right in the first half, so that parts differ in their accuracy.
        values[: (N + 1) // 2, 0] += 9.0
        return values

    labels = given([0] * N, dtype=torch.int64) if y is None else y
    return Case(
        name, x=drawn(draw) if scores is None else scores, y=labels, batch_size=batch_size, was_training=was_training
    )


evaluate_accuracy = Function(
    functions=("evaluate_accuracy",),
    reference=_counting(),
    call=_watch,
    cases=[
        accuracy_case("7 images in parts of 3, from training mode", 7, 4, 3, True),
        accuracy_case("5 images in parts of 2, from evaluation mode", 5, 3, 2, False),
    ],
    points={"accuracy": 2, "meanwhile": 1, "afterwards": 1},
    mistakes=[
        Mistake(
            "does not put the net in evaluation mode",
            _as_it_is(*_RIGHT[1:]),
            hint="dropout and batch norm behave differently in training: which mode is the net in when it answers?",
        ),
        Mistake(
            "asks the net as it is, for all images at once",
            _as_it_is("more than batch_size at once", "with a graph"),
            hint="three things are to be seen to: the mode, the graph, and the size of the parts",
        ),
        Mistake(
            "averages the accuracies of the parts",
            _counting(count=lambda r, size: torch.stack([part.double().mean() for part in r.split(size)]).mean()),
            hint="the last part may be smaller: count right answers, then divide once",
        ),
        Mistake(
            "leaves the last, smaller part out",
            _counting(count=lambda r, size: r[: len(r) // size * size].double().sum() / len(r)),
            hint="N need not be a multiple of batch_size",
        ),
        Mistake(
            "looks at the first part only",
            _counting(count=lambda r, size: r[:size].double().mean()),
            hint="all images are to be looked at, batch_size at a time",
        ),
        Mistake(
            "returns the number of right answers",
            _counting(count=lambda r, size: r.sum()),
            hint="the share lies between 0 and 1",
        ),
        Mistake(
            "returns the share of wrong answers",
            _counting(count=lambda r, size: 1 - r.double().mean()),
            hint="right answers count, not wrong ones",
        ),
        Mistake(
            "returns percent",
            _counting(count=lambda r, size: 100 * r.double().mean()),
            hint="the share lies between 0 and 1",
        ),
        Mistake(
            "builds a graph",
            _counting(seen=(*_RIGHT[:2], "with a graph")),
            hint="inside torch.no_grad() nothing is noted down",
        ),
        Mistake(
            "gives the net all images at once",
            _counting(seen=(_RIGHT[0], "more than batch_size at once", _RIGHT[2])),
            hint="x.split(batch_size) gives parts that fit into the memory",
        ),
        Mistake(
            "leaves the net in evaluation mode",
            _counting(after=False),
            hint="note net.training at the beginning, and put it back",
        ),
        Mistake(
            "leaves the net in training mode, whatever it was in",
            _counting(after=True),
            hint="note net.training at the beginning, and put it back",
        ),
    ],
)
