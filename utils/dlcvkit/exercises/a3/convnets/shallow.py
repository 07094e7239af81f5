"""The three-layer net: convolution, ReLU, pooling, two affine layers, softmax."""

from __future__ import annotations

import math

from torch.nn import functional

from dlcvkit.checking import Case, Mistake, Module, gradients_by_autograd, labels, normal
from dlcvkit.exercises.a3.convnets.asking import ask_for_gradients, hand_over
from dlcvkit.exercises.a3.convnets.layers import past_the_gate
from dlcvkit.exercises.a3.convnets.weights import expect_weights, tell_weights

NAMES = ("W1", "b1", "W2", "b2", "W3", "b3")
LAST = 0.01

# A fresh net, whose first weights are looked at.
_FRESH = {"input_shape": (3, 7, 6), "num_filters": 20, "filter_size": 5, "hidden_dim": 30, "num_classes": 40}
_FIRST = {
    "W1": math.sqrt(2 / 75),
    "b1": "zeros",
    "W2": math.sqrt(2 / 180),
    "b2": "zeros",
    "W3": LAST,
    "b3": "zeros",
}
_ALL_SMALL = {"W1": LAST, "W2": LAST}
_ALL_KAIMING = {"W3": math.sqrt(2 / 30)}


def use_net(net, X, y):
    """Return scores, loss, gradients and what the first weights of such a net are.

    Raises:
        Interrupted: If there are scores but no loss, or not all gradients.
    """
    loss, gradients, problem = ask_for_gradients(net, X, y, NAMES)
    scores = net.loss(X)  # after the gradients, so that a net which changed its weights is found out

    def build(seed):
        return dict(type(net)(**_FRESH, seed=seed, device=X.device, dtype=X.dtype).params)

    quantities = {
        "scores": scores,
        "loss": loss,
        "dW1": gradients.get("W1"),
        "dW2": gradients.get("W2"),
        "dW3": gradients.get("W3"),
        "biases": {f"d{name}": gradients.get(name) for name in ("b1", "b2", "b3")},
        "first weights": tell_weights(build, _FIRST, X, {**_ALL_SMALL, **_ALL_KAIMING}),
    }
    lost = {f"d{name}": name not in gradients for name in ("W1", "W2", "W3")}
    is_odd = not {"b1", "b2", "b3"} <= set(gradients) or not set(gradients) <= set(NAMES)
    lost |= {"loss": loss is None, "biases": is_odd}
    return hand_over(quantities, problem, lost)


def compute_net(
    init,
    params,
    X,
    y,
    *,
    relu_conv=functional.relu,
    relu_hidden=functional.relu,
    relu_scores=lambda scores: scores,
    pool=functional.max_pool2d,
    padded=True,
    without=(),
    penalty=0.5,
    penalty_gradient=1.0,
    penalized=("W1", "W2", "W3"),
    root=False,
    per_image=False,
    summed=False,
    first=None,
):
    """Return scores, loss, gradients and first weights; each keyword switches a mistake on."""
    reg = init.get("reg", 0.0) / (len(X) if per_image else 1)
    pad = init["filter_size"] // 2 if padded else 0

    def score(p):
        p = {name: 0 * value if name in without else value for name, value in p.items()}
        active = relu_conv(functional.conv2d(X, p["W1"], p["b1"], padding=pad))
        hidden = relu_hidden(pool(active, 2).flatten(1) @ p["W2"] + p["b2"])
        return relu_scores(hidden @ p["W3"] + p["b3"])

    scale = len(X) if summed else 1
    data, gradients = gradients_by_autograd(lambda p: scale * functional.cross_entropy(score(p), y), params)
    squares = sum(params[name].square().sum() for name in penalized)
    loss = data + penalty * reg * (squares.sqrt() if root else squares)
    for name in penalized:
        gradients[name] = gradients[name] + penalty_gradient * reg * params[name]
    matrices = [gradients[name] for name in ("W1", "W2", "W3")]
    biases = {f"d{name}": gradients[name] for name in ("b1", "b2", "b3")}
    return (score(params), loss, *matrices, biases, expect_weights({**_FIRST, **(first or {})}))


def making(**mistakes):
    """Return a variant of the net with mistakes switched on."""

    def variant(init, params, X, y):
        return compute_net(init, params, X, y, **mistakes)

    return variant


def net_case(name, X, filters, hidden, classes, *, std=0.5, x_std=1.0, y=None, **options):
    """Return a case of the three-layer net.

    Args:
        name: The case's name.
        X: Shape of the images, (N, C, H, W).
        filters: Number and size of the filters, (F, HH).
        hidden: Units of the hidden affine layer.
        classes: Classes.
        std: Standard deviation of the weights.
        x_std: Standard deviation of the images.
        y: The labels, drawn by default.
        options: Further arguments of the constructor.
    """
    (count, C, H, W), (F, size) = X, filters
    shapes = {
        "W1": (F, C, size, size),
        "b1": (F,),
        "W2": (F * (H // 2) * (W // 2), hidden),
        "b2": (hidden,),
        "W3": (hidden, classes),
        "b3": (classes,),
    }
    init = {
        "input_shape": (C, H, W),
        "num_filters": F,
        "filter_size": size,
        "hidden_dim": hidden,
        "num_classes": classes,
        **options,
    }
    return Case(
        name,
        init=init,
        params={key: normal(*shape, std=std) for key, shape in shapes.items()},
        X=normal(*X, std=x_std),
        y=labels(count, classes) if y is None else y,
    )


PENALTY_HINTS = {
    "missing": "the loss has a part that depends on the weights alone, and so have the gradients",
    "factor": "from stage 2 on the regulariser has a factor one half, so that its gradient has none",
}

three_layer_convnet = Module(
    functions=("ThreeLayerConvNet",),
    reference=making(),
    call=use_net,
    cases=[
        net_case("images of 6×8, reg 0", (3, 2, 6, 8), (4, 3), 5, 4),
        net_case("images of 5×7, filters of 5×5, reg 0.1", (4, 3, 5, 7), (3, 5), 6, 3, reg=0.1),
        net_case("reg 30", (2, 1, 4, 6), (2, 3), 4, 5, reg=30.0),
    ],
    points={"scores": 2, "loss": 1, "dW1": 1, "dW2": 1, "dW3": 1, "biases": 1, "first weights": 1},
    mistakes=[
        Mistake(
            "leaves out the ReLU after the convolution",
            making(relu_conv=lambda hidden: hidden),
            hint="there are two ReLUs: after the convolution and after the first affine layer",
        ),
        Mistake(
            "leaves out the ReLU after the first affine layer",
            making(relu_hidden=lambda hidden: hidden),
            hint="there are two ReLUs: after the convolution and after the first affine layer",
        ),
        Mistake(
            "applies ReLU to the scores as well",
            making(relu_scores=functional.relu),
            hint="scores may be negative: nothing comes after the last affine layer",
        ),
        Mistake(
            "goes back past the ReLU of the convolution",
            making(relu_conv=past_the_gate),
            hint="the backward pass goes through every layer in reverse, the ReLUs included",
        ),
        Mistake(
            "goes back past the ReLU of the hidden layer",
            making(relu_hidden=past_the_gate),
            hint="the backward pass goes through every layer in reverse, the ReLUs included",
        ),
        Mistake(
            "takes the mean of each window instead of the largest entry",
            making(pool=functional.avg_pool2d),
            hint="the pooling takes the largest entry of each window",
        ),
        Mistake("leaves the bias of the convolution out", making(without=["b1"]), hint="which weights enter layer 1?"),
        Mistake("leaves the bias of layer 2 out", making(without=["b2"]), hint="which weights enter layer 2?"),
        Mistake("leaves the bias of the scores out", making(without=["b3"]), hint="which weights enter layer 3?"),
        Mistake("doubles the regulariser in the loss", making(penalty=1.0), hint=PENALTY_HINTS["factor"]),
        Mistake("doubles the regulariser in the gradients", making(penalty_gradient=2.0), hint=PENALTY_HINTS["factor"]),
        Mistake("leaves the regulariser out of the loss", making(penalty=0.0), hint=PENALTY_HINTS["missing"]),
        Mistake(
            "leaves the regulariser out of the gradients", making(penalty_gradient=0.0), hint=PENALTY_HINTS["missing"]
        ),
        Mistake(
            "regularises the biases as well",
            making(penalized=NAMES),
            hint="the sum runs over W1, W2 and W3; biases are left alone",
        ),
        Mistake(
            "leaves the filters out of the regulariser",
            making(penalized=("W2", "W3")),
            hint="there are three tensors of weights, filters among them",
        ),
        Mistake(
            "takes the sum over the images",
            making(summed=True),
            hint="softmax_loss is a mean over the images already",
        ),
        Mistake(
            "starts W3 with Kaiming's size",
            making(first=_ALL_KAIMING),
            hint="the first scores have to be near 0: W3 starts smaller than the others",
        ),
        Mistake(
            "starts all weights with the size of W3",
            making(first=_ALL_SMALL),
            hint="what stands before a ReLU starts with Kaiming's size: W1 and W2",
        ),
    ],
)
