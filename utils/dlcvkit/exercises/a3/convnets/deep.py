"""A deep net from a plan: 3×3 convolutions with batch norm and ReLU, pooling where the plan says, one affine layer."""

from __future__ import annotations

import math

from torch.nn import functional

from dlcvkit.checking import (
    Case,
    Finding,
    Interrupted,
    Kind,
    Mistake,
    Module,
    gradients_by_autograd,
    labels,
    normal,
    uniform,
)
from dlcvkit.exercises.a3.convnets.asking import ask_for_gradients, hand_over
from dlcvkit.exercises.a3.convnets.layers import past_the_gate
from dlcvkit.exercises.a3.convnets.shallow import PENALTY_HINTS
from dlcvkit.exercises.a3.convnets.weights import expect_weights, tell_weights

LAST = 0.01

# A fresh net, whose first weights are looked at.
_FRESH = {"input_shape": (2, 9, 6), "plan": [15, "pool", 24], "num_classes": 30}
_FIRST = {
    "W1": math.sqrt(2 / 18),
    "gamma1": "ones",
    "beta1": "zeros",
    "W2": math.sqrt(2 / 135),
    "gamma2": "ones",
    "beta2": "zeros",
    "W3": LAST,
    "b3": "zeros",
    "mean1": "zeros",
    "var1": "ones",
    "mean2": "zeros",
    "var2": "ones",
}
_ALL_KAIMING = {"W3": math.sqrt(2 / 288)}


def use_net(net, X, y, state):
    """Return scores, loss, gradients, running statistics and what the first weights of such a net are.

    Raises:
        Interrupted: If the net has other running statistics, or there is no loss, or not all gradients.
    """
    _put(net, state)
    scores = net.loss(X)
    after_use = _copy(net.state)
    loss, gradients, problem = ask_for_gradients(net, X, y, net.params)
    after_step = _copy(net.state)
    _put(net, state)
    again = net.loss(X)  # after the gradients, so that a net which changed its weights is found out

    def build(seed):
        fresh = type(net)(**_FRESH, seed=seed, device=X.device, dtype=X.dtype)
        return {**fresh.params, **fresh.state}

    matrices = [name for name in net.params if name[0] in "Wb" and not name.startswith("beta")]
    norms = [name for name in net.params if name not in matrices]
    quantities = {
        "scores": [scores, again],
        "loss": loss,
        "dW": {f"d{name}": gradients.get(name) for name in matrices},
        "dgamma, dbeta": {f"d{name}": gradients.get(name) for name in norms},
        "statistics": {"after loss(X)": after_use, "after loss(X, y)": after_step},
        "first weights": tell_weights(build, _FIRST, X, _ALL_KAIMING),
    }
    lost = {"loss": loss is None, "statistics": loss is None}
    has_others = not set(gradients) <= set(net.params)
    lost |= {"dW": has_others or not set(matrices) <= set(gradients)}
    lost |= {"dgamma, dbeta": not set(norms) <= set(gradients)}
    return hand_over(quantities, problem, lost)


def _put(net, state):
    present = getattr(net, "state", None)
    if not isinstance(present, dict) or set(present) != set(state):
        got = f"the names {', '.join(map(str, present)) or 'none'}" if isinstance(present, dict) else "no dict"
        text = f"state of DeepConvNet has {got}; expected {', '.join(state) or 'none'}"
        raise Interrupted(Finding(Kind.STRUCTURE, text))
    present.update(_copy(state))


def _copy(state):
    return {name: value.clone() for name, value in state.items()}


def compute_net(
    init,
    params,
    X,
    y,
    state,
    *,
    relu=functional.relu,
    norm=True,
    relu_first=False,
    relu_scores=lambda scores: scores,
    pool=functional.max_pool2d,
    batch_in_use=False,
    running_in_training=False,
    keeps=0.9,
    correction=0,
    counts_use=False,
    never_counts=False,
    first_statistics_only=False,
    penalty=0.5,
    penalty_gradient=1.0,
    penalized=lambda name: name.startswith("W"),
    summed=False,
    first=None,
):
    """Return scores, loss, gradients, statistics and first weights; each keyword switches a mistake on."""
    reg = init.get("reg", 0.0)

    def run(p, known, is_training):
        h, number, after = X, 0, dict(known)
        for step in init["plan"]:
            if step == "pool":
                h = pool(h, 2)
                continue
            number += 1
            h = functional.conv2d(h, p[f"W{number}"], padding=1)
            h = relu(h) if relu_first else h
            mean, var = f"mean{number}", f"var{number}"
            used = ("mean1", "var1") if first_statistics_only else (mean, var)
            if norm:
                uses_batch = batch_in_use if not is_training else not running_in_training
                statistics = (None, None) if uses_batch else (known[used[0]], known[used[1]])
                gamma, beta = p[f"gamma{number}"], p[f"beta{number}"]
                batch = h.detach().transpose(0, 1).flatten(1)
                after[mean] = keeps * known[mean] + (1 - keeps) * batch.mean(1)
                after[var] = keeps * known[var] + (1 - keeps) * batch.var(1, correction=correction)
                h = functional.batch_norm(h, *statistics, gamma, beta, uses_batch, eps=1e-5)
            h = h if relu_first else relu(h)
        scores = relu_scores(h.flatten(1) @ p[f"W{number + 1}"] + p[f"b{number + 1}"])
        return scores, after

    scores, after_use = run(params, state, False)
    after_use = after_use if counts_use else state
    after_step = state if never_counts else run(params, after_use, True)[1]
    scale = len(X) if summed else 1
    loss, gradients = gradients_by_autograd(
        lambda p: scale * functional.cross_entropy(run(p, state, True)[0], y), params
    )
    for name in filter(penalized, params):
        loss = loss + penalty * reg * params[name].square().sum()
        gradients[name] = gradients[name] + penalty_gradient * reg * params[name]
    matrices = {f"d{n}": g for n, g in gradients.items() if n[0] == "W" or (n[0] == "b" and n[1] != "e")}
    norms = {f"d{n}": g for n, g in gradients.items() if f"d{n}" not in matrices}
    statistics = {"after loss(X)": after_use, "after loss(X, y)": after_step}
    return [scores, scores], loss, matrices, norms, statistics, expect_weights({**_FIRST, **(first or {})})


def making(**mistakes):
    """Return a variant of the net with mistakes switched on."""

    def variant(init, params, X, y, state):
        return compute_net(init, params, X, y, state, **mistakes)

    return variant


def deep_case(name, X, plan, classes, *, std=0.4, x_std=1.0, y=None, **options):
    """Return a case of the deep net.

    Args:
        name: The case's name.
        X: Shape of the images, (N, C, H, W).
        plan: Numbers of filters, and ``"pool"``.
        classes: Classes.
        std: Standard deviation of the weights.
        x_std: Standard deviation of the images.
        y: The labels, drawn by default.
        options: Further arguments of the constructor.
    """
    count, channels, H, W = X
    number, params, state = 0, {}, {}
    for step in plan:
        if step == "pool":
            H, W = H // 2, W // 2
            continue
        number += 1
        params |= {
            f"W{number}": normal(step, channels, 3, 3, std=std),
            f"gamma{number}": normal(step, mean=1.0, std=0.4),
            f"beta{number}": normal(step, std=0.5),
        }
        state |= {f"mean{number}": normal(step, std=0.5), f"var{number}": uniform(step, low=0.5, high=3.0)}
        channels = step
    params |= {f"W{number + 1}": normal(channels * H * W, classes, std=std), f"b{number + 1}": normal(classes)}
    return Case(
        name,
        init={"input_shape": X[1:], "plan": list(plan), "num_classes": classes, **options},
        params=params,
        X=normal(*X, std=x_std),
        y=labels(count, classes) if y is None else y,
        state=state,
    )


deep_convnet = Module(
    functions=("DeepConvNet",),
    reference=making(),
    call=use_net,
    cases=[
        deep_case("one convolution, reg 0", (3, 2, 5, 4), [3], 4),
        deep_case("two convolutions and two pools, reg 0.1", (4, 3, 6, 9), [4, "pool", 5, "pool"], 3, reg=0.1),
        deep_case("two in a row, reg 30", (3, 1, 4, 7), [3, 4, "pool"], 5, reg=30.0),
    ],
    points={"scores": 2, "loss": 1, "dW": 2, "dgamma, dbeta": 1, "statistics": 1, "first weights": 1},
    mistakes=[
        Mistake(
            "uses the statistics of the batch in loss(X)",
            making(batch_in_use=True),
            hint="without labels the net is in use, and an image's scores may not depend on its neighbours",
        ),
        Mistake(
            "trains with the running statistics",
            making(running_in_training=True),
            hint="with labels the net is in training: which statistics does batch norm take then?",
        ),
        Mistake(
            "updates the running statistics in loss(X) as well",
            making(counts_use=True),
            hint="looking at validation images must not change the net",
        ),
        Mistake(
            "never keeps the running statistics",
            making(never_counts=True),
            hint="spatial_batchnorm_forward returns the new mean and variance: where do they go?",
        ),
        Mistake(
            "keeps a tenth of the running statistics instead of nine tenths",
            making(keeps=0.1),
            hint="momentum is the share that is kept: the default of spatial_batchnorm_forward",
        ),
        Mistake(
            "uses the running statistics of the first layer in all layers",
            making(first_statistics_only=True),
            hint="each batch norm has statistics of its own",
        ),
        Mistake("leaves batch norm out", making(norm=False), hint="the order is convolution, batch norm, ReLU"),
        Mistake(
            "applies ReLU before batch norm",
            making(relu_first=True),
            hint="the order is convolution, batch norm, ReLU",
        ),
        Mistake("leaves the ReLUs out", making(relu=lambda h: h), hint="the order is convolution, batch norm, ReLU"),
        Mistake(
            "goes back past the ReLUs",
            making(relu=past_the_gate),
            hint="the backward pass goes through every layer in reverse, the ReLUs included",
        ),
        Mistake(
            "takes the mean of each window instead of the largest entry",
            making(pool=functional.avg_pool2d),
            hint="the pooling takes the largest entry of each window",
        ),
        Mistake(
            "applies ReLU to the scores as well",
            making(relu_scores=functional.relu),
            hint="scores may be negative: nothing comes after the affine layer",
        ),
        Mistake("doubles the regulariser in the loss", making(penalty=1.0), hint=PENALTY_HINTS["factor"]),
        Mistake("doubles the regulariser in the gradients", making(penalty_gradient=2.0), hint=PENALTY_HINTS["factor"]),
        Mistake("leaves the regulariser out of the loss", making(penalty=0.0), hint=PENALTY_HINTS["missing"]),
        Mistake(
            "leaves the regulariser out of the gradients", making(penalty_gradient=0.0), hint=PENALTY_HINTS["missing"]
        ),
        Mistake(
            "regularises everything in params",
            making(penalized=lambda name: True),
            hint="the sum runs over the weights W alone; gamma, beta and b are left alone",
        ),
        Mistake(
            "regularises gamma as well",
            making(penalized=lambda name: name[0] in "Wg"),
            hint="the sum runs over the weights W alone; gamma, beta and b are left alone",
        ),
        Mistake(
            "takes the sum over the images",
            making(summed=True),
            hint="softmax_loss is a mean over the images already",
        ),
        Mistake(
            "starts the last W with Kaiming's size",
            making(first=_ALL_KAIMING),
            hint="the first scores have to be near 0: the last W starts smaller than the others",
        ),
    ],
)
