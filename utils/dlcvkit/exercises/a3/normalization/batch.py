"""Batch normalisation of rows: forward and backward, and backward in closed form."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional

from dlcvkit.checking import (
    AUTOGRAD,
    TORCH_LAYERS,
    Case,
    Finding,
    ForwardBackward,
    Function,
    Interrupted,
    Kind,
    Mistake,
    messages,
    normal,
    uniform,
)
from dlcvkit.exercises.a3.normalization.variants import (
    changed,
    per_channel,
    right_quantities,
    shared_mistakes,
    whiten,
    with_affine,
)

STATE_HINTS = {
    "momentum": "momentum is the share that is kept of what there was; torch counts the other way round",
    "running unbiased": "the running variance is made of the same, biased, variance that the batch is divided by",
    "deviation": "what is kept is the variance; the root is taken when it is used",
    "no update": "in training the running mean and variance that are returned have moved towards the batch's",
    "update in evaluation": "in evaluation the state is used, and returned as it came",
    "batch in evaluation": "in evaluation the answer for one image must not depend on which others are there",
    "state in training": "in training the batch is normalised by its own mean and variance",
    "sum": "the two shares add up to 1",
}


def batch_norm(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    """The reference, for rows and for images."""
    if not is_training:
        out = functional.batch_norm(x, running_mean, running_var, gamma, beta, False, 0.0, eps)
        return out, running_mean, running_var
    # Not functional.batch_norm: it refuses one row, for which the formula of the course holds as well.
    out = torch.batch_norm(x, gamma, beta, None, None, True, 0.0, eps, False)
    var, mean = torch.var_mean(x.detach(), [axis for axis in range(x.dim()) if axis != 1], correction=0)
    return out, mean.lerp(running_mean, momentum), var.lerp(running_var, momentum)


def spoilt_batch_norm(
    *,
    state="",
    gamma_off=False,
    beta_off=False,
    dims=None,
    **mistakes,
):
    """Return batch norm with mistakes: those of ``whiten``, or one of the ``state``, by its key in STATE_HINTS."""

    def layer(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
        eps = mistakes.get("fixed_eps", eps)
        axes = dims or [axis for axis in range(x.dim()) if axis != 1]
        uses_batch = is_training != (state == ("state in training" if is_training else "batch in evaluation"))
        if uses_batch:
            normed = whiten(x, axes, eps, **mistakes)
        else:
            root = mistakes.get("root", "inside")
            var = per_channel(running_var, x)
            std = {
                "inside": (var + eps).sqrt(),
                "outside": var.sqrt() + eps,
                "without eps": var.sqrt(),
                "left out": var + eps,
            }[root]
            shift = per_channel(running_mean, x) if mistakes.get("is_centred", True) else 0
            normed = (x - shift) / std
        out = with_affine(normed, torch.ones_like(gamma) if gamma_off else gamma, 0 * beta if beta_off else beta)
        if not (is_training or state == "update in evaluation") or state == "no update":
            return out, running_mean, running_var
        correction = 1 if state == "running unbiased" or mistakes.get("correction") else 0
        rows = x.detach().movedim(1, -1).flatten(0, -2)
        mean = rows.mean(0)
        var = (rows - mean).square().sum(0) / max(len(rows) - correction, 1)
        var = var.sqrt() if state == "deviation" else var
        kept, taken = (1 - momentum, momentum) if state == "momentum" else (momentum, 1 - momentum)
        kept = 1.0 if state == "sum" else kept
        return out, kept * running_mean + taken * mean, kept * running_var + taken * var

    return layer


def state_mistakes(names):
    """Return the mistakes with running statistics; ``names`` maps keys of STATE_HINTS to what they are called."""
    return [Mistake(name, spoilt_batch_norm(state=key), hint=STATE_HINTS[key]) for key, name in names.items()]


STATE_NAMES = {
    "momentum": "weighs the old statistics with 1 - momentum and the new ones with momentum",
    "running unbiased": "keeps the unbiased variance, as torch does",
    "deviation": "keeps the standard deviation instead of the variance",
    "no update": "returns the running statistics unchanged",
    "update in evaluation": "updates the running statistics in evaluation",
    "batch in evaluation": "uses the batch's own statistics in evaluation",
    "state in training": "uses the running statistics in training",
    "sum": "adds the new statistics without shrinking the old ones",
}


def _training_backward(dx, given, *, by_steps=False):
    """The gradient in evaluation with mean and variance taken for functions of x, by a formula of training."""
    if given["is_training"]:
        return dx
    x, eps = given["x"], given.get("eps", 1e-5)
    std = (per_channel(given["running_var"], x) + eps).sqrt()
    axes = [axis for axis in range(x.dim()) if axis != 1]
    normed = (x - per_channel(given["running_mean"], x)) / std
    back = given["dout"] * per_channel(given["gamma"], x)
    total = back - normed * (back * normed).mean(axes, keepdim=True)
    # The two agree in training alone, where the normalised values add up to 0.
    return (total - (total if by_steps else back).mean(axes, keepdim=True)) / std


def evaluation_mistakes():
    """Return one mistake in the two forms that it takes, by the closed form and step by step."""
    return [
        Mistake(
            "goes back through mean and variance in evaluation as well",
            changed(batch_norm, dx=partial(_training_backward, by_steps=by_steps)),
            hint="in evaluation mean and variance are given numbers: which paths from x to the output are left?",
        )
        for by_steps in (False, True)
    ]


def state(D):
    """Inputs for a running mean and variance of shape (D,)."""
    return {"running_mean": normal(D), "running_var": uniform(D, low=0.3, high=3.0)}


def case(name, shape, is_training, mean=0.0, std=1.0, **options):
    """Inputs for rows or images of ``shape``."""
    channels = shape[1]
    weights = {"gamma": normal(channels), "beta": normal(channels)}
    x, dout = normal(*shape, mean=mean, std=std), normal(*shape)
    return Case(name, x=x, **weights, **state(channels), is_training=is_training, **options, dout=dout)


batchnorm = ForwardBackward(
    functions=("batchnorm_forward", "batchnorm_backward"),
    reference=batch_norm,
    cases=[
        case("training, 5×3", (5, 3), True, mean=2.0, std=3.0),
        case("evaluation, 4×3", (4, 3), False, mean=1.0, std=2.0),
        case("training, momentum 0.7, eps 0.5", (3, 4), True, momentum=0.7, eps=0.5),
        case("training, one row", (1, 3), True),
    ],
    points={"out": 2, "running_mean": 1, "running_var": 1, "dx": 2, "dgamma": 1, "dbeta": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        *state_mistakes(STATE_NAMES),
        *shared_mistakes(spoilt_batch_norm, count_of=len),
        Mistake(
            "takes one mean and variance for all features",
            spoilt_batch_norm(dims=(0, 1)),
            hint="every feature, a column of x, has a mean and a variance of its own",
        ),
        *evaluation_mistakes(),
    ],
)


def _go_back(batchnorm_backward_alt, dout, **inputs):
    """Call the function with the cache of the forward function beside which it was defined."""
    if "batchnorm_backward" in getattr(getattr(batchnorm_backward_alt, "__code__", None), "co_names", ()):
        text = messages.FORBIDDEN.format(op="batchnorm_backward")
        raise Interrupted(Finding(Kind.FORBIDDEN, text, hint="write the closed form that the text derives"))
    forward = getattr(batchnorm_backward_alt, "__globals__", {}).get("batchnorm_forward")
    try:
        *_, cache = forward(*inputs.values())
    except Exception as error:
        text = f"needs the cache of your batchnorm_forward, which fails ({type(error).__name__})"
        raise Interrupted(Finding(Kind.STRUCTURE, text, hint="solve the exercise a3/batchnorm first")) from error
    return batchnorm_backward_alt(dout, cache)


def _gradients(layer):
    """Return a function of a case's inputs that gives the three gradients of a layer, or of a variant of one."""

    def run(dout, **inputs):
        return tuple(right_quantities(layer, dout, inputs)[1].values())

    return run


def _changed_gradients(**changes):
    return lambda dout, **inputs: changed(batch_norm, **changes)(dout, **inputs)[3:]


def _closed(*, mean=True, product=True, count=True, sign=1, gamma=True, sums=False):
    """The closed form of dx in training, with a part left out."""

    def dx(right, given):
        if not given["is_training"]:
            return right
        x, dout, eps = given["x"], given["dout"], given.get("eps", 1e-5)
        std = (x.var(0, correction=0) + eps).sqrt()
        normed = (x - x.mean(0)) / std
        size = len(x) if sums else 1
        total = dout - size * dout.mean(0) * mean
        total = total - size * sign * product * normed * (dout * normed).mean(0)
        scale = given["gamma"] if gamma else 1
        return total * scale / std * (1 if count else len(x))

    return _changed_gradients(dx=dx)


batchnorm_backward_alt = Function(
    functions=("batchnorm_backward_alt",),
    reference=_gradients(batch_norm),
    call=_go_back,
    cases=[
        case("training, 5×3", (5, 3), True, mean=-1.0, std=2.0),
        case("evaluation, 4×3", (4, 3), False),
        case("training, eps 0.5", (3, 4), True, momentum=0.9, eps=0.5),
    ],
    points={"dx": 2, "dgamma": 1, "dbeta": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the mean of dout out",
            _closed(mean=False),
            hint="three terms stand in the bracket; two of them are sums over the batch",
        ),
        Mistake(
            "leaves the term with the normalised x out",
            _closed(product=False),
            hint="three terms stand in the bracket; two of them are sums over the batch",
        ),
        Mistake(
            "takes both means for 0",
            _closed(mean=False, product=False),
            hint="three terms stand in the bracket; two of them are sums over the batch",
        ),
        Mistake(
            "adds the term with the normalised x",
            _closed(sign=-1),
            hint="both sums are taken off: look at the signs in the bracket",
        ),
        Mistake(
            "does not divide by the number of rows",
            _closed(count=False),
            hint="look at what stands before the bracket, and at N inside it",
        ),
        Mistake(
            "takes sums off where means are asked for",
            _closed(sums=True),
            hint="look at N inside the bracket, and at what stands before it",
        ),
        Mistake("leaves gamma out of dx", _closed(gamma=False), hint="on the way back from out there is gamma"),
        Mistake(
            "goes back through mean and variance in evaluation as well",
            _changed_gradients(dx=_training_backward),
            hint="in evaluation mean and variance are given numbers: which paths from x to the output are left?",
        ),
        *[
            Mistake(
                found.name,
                lambda dout, _variant=found.variant, **inputs: _variant(dout, **inputs)[3:],
                hint=found.hint,
            )
            for found in shared_mistakes(spoilt_batch_norm, count_of=len)
            if any(word in found.name for word in ("dgamma", "dbeta", "upstream"))
        ],
    ],
)
