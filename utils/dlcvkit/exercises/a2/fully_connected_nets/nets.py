"""The network: its first weights, and its scores, loss and gradients with every option."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch.nn import functional

from dlcvkit.checking import (
    Case,
    Finding,
    Interrupted,
    Invariant,
    Kind,
    Mistake,
    Module,
    given,
    labels,
    messages,
    normal,
)
from dlcvkit.checking.module import gradients_by_autograd
from dlcvkit.exercises.a2.fully_connected_nets.statistics import SIGMAS

ALL = 1 - 1e-9
"""A probability of dropping at which everything is dropped, but in one of a million checks."""


# A tensor among the inputs, ``home``, says on which device the generator, and thus the weights, are to be.
def _build(build_params, input_dim, hidden_dims, num_classes, normalization, weight_scale, seed, home):
    def run(number):
        source = torch.Generator(device=home.device).manual_seed(number)
        return build_params(input_dim, hidden_dims, num_classes, normalization, weight_scale, source)

    source = torch.Generator(device=home.device).manual_seed(seed)
    in_a_row = [
        build_params(input_dim, hidden_dims, num_classes, normalization, weight_scale, source) for _ in range(2)
    ]
    return {"params": run(seed), "again": run(seed), "other": run(seed + 1), "in a row": in_a_row}


def shapes_of(input_dim, hidden_dims, num_classes, normalization):
    """Return name to shape of the weights of a net, first layer first."""
    dims = [input_dim, *hidden_dims, num_classes]
    found = {}
    for number, (fan_in, fan_out) in enumerate(pairwise(dims), 1):
        found |= {f"W{number}": (fan_in, fan_out), f"b{number}": (fan_out,)}
        if normalization is not None and number < len(dims) - 1:
            found |= {f"gamma{number}": (fan_out,), f"beta{number}": (fan_out,)}
    return found


def _has_shapes(result, input_dim, hidden_dims, num_classes, normalization, weight_scale, seed, home):
    params = result["params"]
    if not isinstance(params, dict):
        return f"params is {'None' if params is None else f'a {type(params).__name__}'}; expected a dict"
    expected = shapes_of(input_dim, hidden_dims, num_classes, normalization)
    if set(params) != set(expected):
        return f"params has the names {_listed(map(str, params))}; expected {_listed(expected)}"
    for name, shape in expected.items():
        value = params[name]
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape or value.dtype != torch.float32:
            is_tensor = isinstance(value, torch.Tensor)
            got = f"shape {tuple(value.shape)} and {value.dtype}" if is_tensor else f"a {type(value).__name__}"
            return f"{name} has {got}; expected shape {shape} and torch.float32"
    return None


def _listed(names):
    return messages.listing(sorted(names) or ["none"])


def _starts_well(result, input_dim, hidden_dims, num_classes, normalization, weight_scale, seed, home):
    for name, value in result["params"].items():
        constant = 1.0 if name.startswith("gamma") else 0.0
        if not name.startswith("W"):
            if not bool((value == constant).all()):
                return f"{name} starts with other values than {constant:g}"
            continue
        fan_in, count = value.shape[0], value.numel()
        std = math.sqrt(2 / fan_in) if weight_scale is None else weight_scale
        size, mean = float(value.square().mean().sqrt()), float(value.mean())
        if abs(size / std - 1) > SIGMAS / math.sqrt(2 * count):
            return f"{name} of shape {tuple(value.shape)} has entries of about {size:.3g}; expected {std:.3g}"
        if abs(mean) > SIGMAS * std / math.sqrt(count):
            return f"{name} has mean {mean:.3g}; expected 0"
        if count >= 1000 and abs(float((value / std).pow(4).mean()) - 3) > 1:
            return f"the entries of {name} are not normally distributed"
    return None


def _obeys_generator(result, input_dim, hidden_dims, num_classes, normalization, weight_scale, seed, home):
    weights = {name: params["W1"] for name, params in result.items() if name != "in a row"}
    if not torch.equal(weights["params"], weights["again"]):
        return "generators with equal seeds give different weights; expected the same ones"
    if torch.equal(weights["params"], weights["other"]):
        return "generators with different seeds give the same weights; expected other ones"
    if torch.equal(*(params["W1"] for params in result["in a row"])):
        return "two calls in a row give the same weights; expected other ones at every call"
    return None


build_params = Invariant(
    functions=("build_params",),
    cases=[
        Case(
            "two hidden layers, layer norm",
            input_dim=40,
            hidden_dims=[50, 30],
            num_classes=10,
            normalization="layer",
            weight_scale=None,
            seed=1,
            home=given([0.0]),
        ),
        Case(
            "weight_scale = 0.01",
            input_dim=30,
            hidden_dims=[45],
            num_classes=7,
            normalization=None,
            weight_scale=0.01,
            seed=2,
            home=given([0.0]),
        ),
    ],
    properties={"shapes": _has_shapes, "values": _starts_well, "generator": _obeys_generator},
    points={"shapes": 1, "values": 1, "generator": 1},
    hints={
        "shapes": "count the affine layers: which of them are hidden, and how many inputs does each have?",
        "values": "weights are normal numbers times a scale set by each layer's inputs; b and beta are 0, gamma 1",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
    },
    call=_build,
)


def _use_net(net, X, y, seed, watched):
    net.generator = torch.Generator(device=X.device).manual_seed(seed)
    scores = net.loss(X)
    result = net.loss(X, y)
    if not isinstance(result, list | tuple) or len(result) != 2:
        got = "None" if result is None else f"a {type(result).__name__}"
        text = messages.WRONG_TUPLE.format(name="loss(X, y)", got=got, count=2, names="loss and gradients")
        raise Interrupted(Finding(Kind.STRUCTURE, text), (scores, None, None, None), ["loss", "gradients", "dropout"])
    # The second answer of a net that also drops when it is not training, or that keeps what it should not, differs.
    is_steady = isinstance(scores, torch.Tensor) and torch.equal(net.loss(X), scores)
    told = [] if watched is None else _watch(type(net), X.device, X.dtype, watched, net.normalization)
    return scores, *result, [*told, "scores repeat" if is_steady else "scores change from call to call"]


def _watch(make, device, dtype, p, normalization):
    """Return per layer what share of its inputs is dropped in training: their weights get no gradient."""
    dims = [12, 40, 50]
    net = make(dims[0], dims[1:], 3, dropout=p, normalization=normalization, device=device)
    net.generator = torch.Generator(device=device).manual_seed(0)
    # So small that every unit is active: what is 0 was dropped.
    net.params = {
        name: torch.full_like(value, 1.0 if name[:2] == "be" or name[0] == "b" else 0.01, dtype=dtype)
        * (1 + torch.arange(value.numel(), dtype=dtype, device=device).reshape(value.shape) % 7 / 20)
        for name, value in net.params.items()
    }
    x = torch.linspace(1, 2, dims[0], dtype=dtype, device=device)[None]
    dropped = [[], [], []]
    for _ in range(10):
        gradients = net.loss(x, torch.tensor([1], device=device))[1]
        for number, rows in enumerate(dropped):
            rows.append((gradients[f"W{number + 1}"] == 0).all(1))
    return [f"{name}: {_told(rows, p)}" for name, rows in zip(("input", "hidden 1", "hidden 2"), dropped, strict=True)]


def _told(rows, p):
    masks = torch.stack(rows).double()
    share = float(masks.mean())
    if share == 0:
        return "nothing is dropped"
    if bool((masks == masks[0]).all()):
        return "the same entries are dropped every time"
    is_right = abs(share - p) < 5.5 * (p * (1 - p) / masks.numel()) ** 0.5
    return "the share p is dropped" if is_right else "another share than p is dropped"


def compute_net(
    init,
    params,
    X,
    y,
    seed,
    watched,
    *,
    loss_factor=0.5,
    gradient_factor=1.0,
    on_biases=False,
    first_only=False,
    root=False,
    relu_at_end=False,
    drops_always=False,
    drops_never=False,
    drops_scores=False,
    norm_after_relu=False,
    without_norm=False,
    norm_at_end=False,
    without_relu=False,
    linear_last_hidden=False,
    summed=False,
    forgets_mask=False,
    biases_of_first_only=False,
):
    """Return scores, loss, gradients and what is told of dropout; each keyword switches a mistake on."""
    depth, p, reg = len(init["hidden_dims"]), init.get("dropout", 0.0), init.get("reg", 0.0)
    has_norm = init.get("normalization") == "layer" and not without_norm

    def norm(h, number):
        return functional.layer_norm(h, (h.shape[1],), params_now[f"gamma{number}"], params_now[f"beta{number}"])

    def forward(is_training, weights):
        nonlocal params_now
        params_now = weights
        h = X.flatten(1)
        is_dropping = p == ALL and (is_training or drops_always) and not drops_never
        for number in range(1, depth + 1):
            h = h @ weights[f"W{number}"]
            h = h if biases_of_first_only and number > 1 else h + weights[f"b{number}"]
            h = norm(h, number) if has_norm and not norm_after_relu else h
            h = h if without_relu or (linear_last_hidden and number == depth) else h.relu()
            h = norm(h, number) if has_norm and norm_after_relu else h
            h = _drop(h, forgets_mask) if is_dropping else h
        scores = h @ weights[f"W{depth + 1}"] + weights[f"b{depth + 1}"]
        scores = functional.layer_norm(scores, scores.shape[1:]) if norm_at_end and has_norm else scores
        scores = scores.relu() if relu_at_end else scores
        return 0 * scores if drops_scores and is_dropping else scores

    params_now = params
    chosen = [name for name in params if on_biases or name.startswith("W")]
    chosen = chosen[:1] if first_only else chosen
    with torch.no_grad():
        scores = forward(False, params)
        penalty = sum(params[name].square().sum() for name in chosen)
        penalty = penalty.sqrt() if root else penalty
    factor = len(X) if summed else 1
    data, gradients = gradients_by_autograd(
        lambda weights: factor * functional.cross_entropy(forward(True, weights), y), params
    )
    gradients = {
        name: gradient + gradient_factor * reg * params[name] * (name in chosen) for name, gradient in gradients.items()
    }
    told = [] if watched is None else ["input: nothing is dropped"]
    what = "nothing is dropped" if drops_never else "the share p is dropped"
    told += [] if watched is None else [f"hidden {number}: {what}" for number in (1, 2)]
    is_changing = drops_always and 0 < p < ALL
    told += ["scores change from call to call" if is_changing else "scores repeat"]
    return scores, data + loss_factor * reg * penalty, gradients, told


def _drop(h, forgets_mask):
    """Return zeros; with the gradient of the identity if backward forgets what was dropped."""
    return h - h.detach() if forgets_mask else 0 * h


def making(**mistakes):
    """Return a variant of the network with mistakes switched on."""

    def variant(init, params, X, y, seed, watched):
        return compute_net(init, params, X, y, seed, watched, **mistakes)

    return variant


def net_case(name, N, dims, K, *, X=None, y=None, std=0.6, watched=None, **options):
    """Return a case of the network.

    Args:
        name: The case's name.
        N: Images.
        dims: Inputs, then the hidden sizes.
        K: Classes.
        X: The images, N rows of dims[0] numbers by default.
        y: Their labels, drawn by default.
        std: Standard deviation of the weights.
        watched: Probability at which a net of its own is watched while it drops; None watches none.
        options: Further arguments of the constructor.
    """
    shapes = shapes_of(dims[0], dims[1:], K, options.get("normalization"))
    params = {
        key: normal(*shape, std=std, mean=1.0 if key.startswith("gamma") else 0.0) for key, shape in shapes.items()
    }
    return Case(
        name,
        init={"input_dim": dims[0], "hidden_dims": list(dims[1:]), "num_classes": K, **options},
        params=params,
        X=normal(N, dims[0]) if X is None else X,
        y=labels(N, K) if y is None else y,
        seed=1,
        watched=watched,
    )


fully_connected_net = Module(
    functions=("FullyConnectedNet",),
    reference=compute_net,
    cases=[
        net_case("one hidden layer", 5, [6, 7], 4),
        net_case("two hidden layers, reg = 0.3", 6, [5, 8, 7], 3, reg=0.3),
        net_case("layer norm", 5, [6, 9, 8], 4, normalization="layer", reg=0.1),
        net_case("dropout, everything dropped", 5, [4, 6, 5], 3, dropout=ALL, watched=0.4),
    ],
    points={"scores": 2, "loss": 2, "gradients": 4, "dropout": 2},
    call=_use_net,
    mistakes=[
        Mistake(
            "doubles the penalty in the loss",
            making(loss_factor=1.0),
            hint="from this stage on the penalty has a factor 1/2",
        ),
        Mistake(
            "leaves the penalty out of the loss",
            making(loss_factor=0.0),
            hint="what the gradient has, the loss has to have as well",
        ),
        Mistake(
            "leaves the penalty out of the gradients",
            making(gradient_factor=0.0),
            hint="what the loss has, the gradient has to have as well",
        ),
        Mistake(
            "doubles the penalty in the gradients",
            making(gradient_factor=2.0),
            hint="differentiate the half of a square",
        ),
        Mistake("penalises biases too", making(on_biases=True), hint="the penalty is one of weights W alone"),
        Mistake("penalises the first layer alone", making(first_only=True), hint="the penalty adds up over all layers"),
        Mistake(
            "puts a ReLU on the scores",
            making(relu_at_end=True),
            hint="count the layers: the last one is an affine layer and nothing else",
        ),
        Mistake("drops when it is not training too", making(drops_always=True), hint="what does loss(X) hand on?"),
        Mistake("never drops anything", making(drops_never=True), hint="dropout comes last in every hidden layer"),
        Mistake(
            "drops scores",
            making(drops_scores=True),
            hint="dropout belongs to hidden layers; the last one is not hidden",
        ),
        Mistake(
            "goes back without the mask of dropout",
            making(forgets_mask=True),
            hint="every layer of forward has its counterpart in backward, in reverse order",
        ),
        Mistake("normalises after ReLU", making(norm_after_relu=True), hint="the order is affine, norm, ReLU, dropout"),
        Mistake("leaves the ReLUs out", making(without_relu=True), hint="the order is affine, norm, ReLU, dropout"),
        Mistake(
            "leaves the ReLU of the last hidden layer out",
            making(linear_last_hidden=True),
            hint="the order is affine, norm, ReLU, dropout, in every hidden layer",
        ),
        Mistake("takes the sum over the images", making(summed=True), hint="the loss is a mean over the images"),
    ],
)
