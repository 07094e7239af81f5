"""First weights, and the two-layer net."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.nn.functional import cross_entropy

from dlcvkit.checking import (
    AUTOGRAD,
    TORCH_LAYERS,
    Case,
    Finding,
    Interrupted,
    Invariant,
    Kind,
    Mistake,
    Module,
    gradients_by_autograd,
    labels,
    normal,
)
from dlcvkit.checking.values import kind_of
from dlcvkit.exercises.a2.two_layer_net.losses import hinge, with_gradient_of
from dlcvkit.exercises.a2.two_layer_net.weights import (
    are_in_place,
    are_normal,
    are_zero,
    follow_generator,
    have_shapes,
    record_weights,
)

initialize_weights = Invariant(
    functions=("initialize_weights",),
    cases=[
        Case("60-50-30", input_dim=60, hidden_dim=50, num_classes=30, weight_scale=0.01, seed=1, dtype="float64"),
        Case("3-4-2", input_dim=3, hidden_dim=4, num_classes=2, weight_scale=0.5, seed=2, dtype="float32"),
    ],
    properties={
        "shapes": have_shapes,
        "weights": are_normal,
        "biases": are_zero,
        "generator": follow_generator,
        "dtype and device": are_in_place,
    },
    points={"shapes": 1, "weights": 1, "biases": 1, "generator": 1, "dtype and device": 1},
    hints={
        "shapes": "a matrix is (inputs, outputs) and a bias has an entry per output; hidden units are in between",
        "weights": "standard normal numbers times weight_scale, drawn anew for W1 and for W2",
        "biases": "biases start at 0; only the weights need random numbers",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
        "dtype and device": "pass dtype= and device= to everything that makes a tensor, biases included",
    },
    call=record_weights,
)


GRADIENTS = ("dW1", "db1", "dW2", "db2")


def use_net(net, X, y):
    """Return scores, loss and the four gradients.

    Raises:
        Interrupted: If there are scores but no loss and gradients; it holds the scores.
    """
    problem = result = loss = None
    grads, lost = {}, ["loss", *GRADIENTS]
    try:
        result = net.loss(X, y)
    except Exception as error:
        problem = error
    if isinstance(result, tuple | list) and len(result) == 2:
        loss, grads = result[0], result[1] if isinstance(result[1], dict) else {}
        lost = [name for name in GRADIENTS if name[1:] not in grads]
        text = f"grads has the keys {list(map(str, grads))}; expected {[name[1:] for name in GRADIENTS]}"
        if not isinstance(result[1], dict):
            text = f"grads is {_kind(result[1])}; expected a dict"
    else:
        text = f"loss(X, y) returned {_kind(result)}; expected a tuple of 2: loss and grads"
    scores = net.loss(X)  # after the gradients, so that a net which changed its weights is found out
    values = (scores, loss, *(grads.get(name[1:]) for name in GRADIENTS))
    if lost:
        raise Interrupted(problem or Finding(Kind.STRUCTURE, text), values, lost)
    return values


def _kind(value):
    return f"a {kind_of(value)}" if value is not None else "None"


def _hidden(params, X):
    return functional.linear(X.flatten(1), params["W1"].T, params["b1"])


def _scores(params, X):
    return functional.linear(functional.relu(_hidden(params, X)), params["W2"].T, params["b2"])


def _squares(params):
    return (params["W1"] ** 2).sum() + (params["W2"] ** 2).sum()


def _penalty(params, reg, X):
    return 0.5 * reg * _squares(params)


def _net(*, scores=_scores, data=cross_entropy, penalty=_penalty):
    """The net with its parts: ``scores(params, X)``, ``data(scores, y)`` and ``penalty(params, reg, X)``."""

    def run(init, params, X, y):
        def loss(variables):
            return data(scores(variables, X), y) + penalty(variables, init["reg"], X)

        value, gradients = gradients_by_autograd(loss, params)
        return (scores(params, X), value, *(gradients[name[1:]] for name in GRADIENTS))

    return run


def _net_of(activation, last=lambda scores: scores):
    """The net with another function in place of ReLU, and one after the scores."""
    return _net(
        scores=lambda p, X: last(functional.linear(activation(_hidden(p, X)), p["W2"].T, p["b2"])),
    )


def _through_gate(hidden):
    """ReLU with the gradient of the identity."""
    return with_gradient_of(functional.relu(hidden), hidden)


def _scores_before_gate(params, X):
    """Scores whose dW2 is taken with what went into ReLU."""
    hidden = _hidden(params, X)
    active = functional.relu(hidden)
    by_weights = functional.linear(hidden.detach(), params["W2"].T)
    by_inputs = functional.linear(active, params["W2"].T.detach(), params["b2"])
    return with_gradient_of(_scores(params, X), by_weights + by_inputs)


def _started_from(upstream):
    """Softmax with ``upstream(scores, y)`` in place of its gradient."""
    return lambda scores, y: with_gradient_of(cross_entropy(scores, y), (scores * upstream(scores, y).detach()).sum())


def _without(name):
    return _net(scores=lambda p, X: _scores({**p, name: torch.zeros_like(p[name])}, X))


def _penalized(penalty):
    return _net(penalty=lambda params, reg, X: penalty(params, reg))


_PENALTY_MISTAKES = [
    Mistake(
        "leaves the regulariser out",
        _penalized(lambda p, reg: 0 * _squares(p)),
        hint="the loss has a part that depends on the weights alone, and so have dW1 and dW2",
    ),
    Mistake(
        "lacks the factor one half in the regulariser",
        _penalized(lambda p, reg: reg * _squares(p)),
        hint="from this stage on the regulariser has a factor one half, so that its gradient has none",
    ),
    Mistake(
        "lacks the factor one half in the loss, though the gradient has it",
        _penalized(lambda p, reg: with_gradient_of(reg * _squares(p), 0.5 * reg * _squares(p))),
        hint="what function has the gradient reg * W?",
    ),
    Mistake(
        "doubles the regulariser in the gradient",
        _penalized(lambda p, reg: with_gradient_of(0.5 * reg * _squares(p), reg * _squares(p))),
        hint="differentiate the regulariser with its factor one half",
    ),
    Mistake(
        "halves the regulariser in the gradient",
        _penalized(lambda p, reg: with_gradient_of(0.5 * reg * _squares(p), 0.25 * reg * _squares(p))),
        hint="differentiate the regulariser with its factor one half: a two comes down",
    ),
    Mistake(
        "leaves the regulariser out of the gradient",
        _penalized(lambda p, reg: with_gradient_of(0.5 * reg * _squares(p), 0 * _squares(p))),
        hint="the regulariser stands in the loss: what does it add to dW1 and dW2?",
    ),
    Mistake(
        "leaves the regulariser out of the loss",
        _penalized(lambda p, reg: with_gradient_of(0 * _squares(p), 0.5 * reg * _squares(p))),
        hint="dW1 and dW2 have a term from the regulariser: the loss needs the term that it is the gradient of",
    ),
    Mistake(
        "regularises the biases as well",
        _penalized(lambda p, reg: 0.5 * reg * sum((w**2).sum() for w in p.values())),
        hint="the sum runs over W1 and W2; biases are left alone",
    ),
    Mistake(
        "regularises the first layer only",
        _penalized(lambda p, reg: 0.5 * reg * (p["W1"] ** 2).sum()),
        hint="there are two matrices of weights",
    ),
    Mistake(
        "regularises the second layer only",
        _penalized(lambda p, reg: 0.5 * reg * (p["W2"] ** 2).sum()),
        hint="there are two matrices of weights",
    ),
    Mistake(
        "divides the regulariser by the number of images",
        _net(penalty=lambda p, reg, X: 0.5 * reg * _squares(p) / len(X)),
        hint="softmax_loss is a mean over the images already; the regulariser is added to it as it is",
    ),
    Mistake(
        "takes norms of the weights instead of their squares",
        _penalized(lambda p, reg: 0.5 * reg * (p["W1"].norm() + p["W2"].norm())),
        hint="squares are added up and no root is taken",
    ),
]


def _case(name, sizes, reg, std=0.6, shape=None, **options):
    count, features, hidden, classes = sizes
    init = {"input_dim": features, "hidden_dim": hidden, "num_classes": classes, "weight_scale": 0.1, "reg": reg}
    params = {
        "W1": normal(features, hidden, std=std),
        "b1": normal(hidden, std=std),
        "W2": normal(hidden, classes, std=std),
        "b2": normal(classes, std=std),
    }
    X = normal(*(shape or (count, features)))
    return Case(name, init=init, params=params, X=X, y=labels(count, classes))


two_layer_net = Module(
    functions=("TwoLayerNet",),
    reference=_net(),
    call=use_net,
    cases=[
        _case("5-7-4, reg 0", (3, 5, 7, 4), 0.0),
        _case("6-4-3, reg 0.1", (5, 6, 4, 3), 0.1),
        _case("images of 2×3×2, reg 30", (4, 12, 5, 3), 30.0, shape=(4, 2, 3, 2)),
    ],
    points={"scores": 2, "loss": 2, "dW1": 2, "db1": 1, "dW2": 2, "db2": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves ReLU out",
            _net_of(lambda hidden: hidden),
            hint="between the two affine layers stands ReLU; without it they are one",
        ),
        Mistake(
            "applies ReLU to the scores as well",
            _net_of(functional.relu, last=functional.relu),
            hint="scores may be negative: nothing comes after the second affine layer",
        ),
        Mistake(
            "applies ReLU to the scores instead of the hidden layer",
            _net_of(lambda hidden: hidden, last=functional.relu),
            hint="ReLU stands between the two affine layers",
        ),
        Mistake(
            "leaves the first bias out",
            _without("b1"),
            hint="which weights enter the first layer?",
        ),
        Mistake(
            "leaves the second bias out",
            _without("b2"),
            hint="which weights enter the second layer?",
        ),
        Mistake(
            "goes back past ReLU",
            _net_of(_through_gate),
            hint="the backward pass goes through the same three layers in reverse, ReLU included",
        ),
        Mistake(
            "takes dW2 with what went into ReLU instead of what came out",
            _net(scores=_scores_before_gate),
            hint="what was the input of the second layer? its cache knows",
        ),
        Mistake(
            "goes back from the scores instead of their gradient",
            _net(data=_started_from(lambda scores, y: scores)),
            hint="the backward pass starts with dscores, which the loss returned",
        ),
        Mistake(
            "divides the gradients by the number of images once more",
            _net(data=lambda scores, y: with_gradient_of(cross_entropy(scores, y), cross_entropy(scores, y) / len(y))),
            hint="softmax_loss has averaged already",
        ),
        Mistake(
            "uses the SVM loss",
            _net(data=hinge),
            hint="this net is trained with softmax_loss",
        ),
        *_PENALTY_MISTAKES,
    ],
)
