"""Batch norm of rows: forward, and backward in two ways."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal, uniform


def state(D):
    return {"running_mean": normal(D), "running_var": uniform(D, low=0.3, high=3.0)}


def case(name, shape, is_training, mean=0.0, std=1.0, x=None, dout_std=1.0, gamma=None, spread=None, **options):
    channels = shape[1]
    inputs = {
        "x": x or normal(*shape, mean=mean, std=std),
        "gamma": gamma or normal(channels),
        "beta": normal(channels),
        **(spread or state(channels)),
    }
    return Case(name, **inputs, is_training=is_training, **options, dout=normal(*shape, std=dout_std))


CASES = [
    case("one row in evaluation", (1, 4), False),
    case("one feature", (6, 1), True),
    case("one of everything", (1, 1), True),
    case("as many rows as features", (4, 4), True, mean=1.0),
    case("the same in all rows", (4, 3), True, x=given([[2.0, -1.0, 0.0]] * 4)),
    case("far from zero", (7, 3), True, mean=1e5, std=0.3),
    case("tiny differences, eps 0.01", (5, 4), True, std=0.1, momentum=0.9, eps=0.01),
    case("evaluation, momentum 0.2, eps 0.3", (3, 5), False, momentum=0.2, eps=0.3),
    case(
        "evaluation, running variance of 0",
        (3, 2),
        False,
        std=0.01,
        spread={"running_mean": normal(2, std=0.01), "running_var": given([0.0, 1.0])},
    ),
    case("momentum 1", (4, 3), True, momentum=1.0),
    case("gamma of 0", (4, 3), True, gamma=given([0.0, 1.0, -2.0])),
    case("no gradient from above", (4, 3), True, dout_std=0.0),
    case("non-contiguous", (5, 4), True, mean=2.0).strided(),
    case("float32, far from zero", (8, 16), True, mean=100.0).float32(),
]


def forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5, fault=""):
    """Batch norm, spoilt by one ``fault``."""
    mean, var = (x.mean(0), x.var(0, correction=0)) if is_training else (running_mean, running_var)
    if fault == "difference of squares" and is_training:
        var = (x * x).mean(0) - mean * mean
    if fault == "whole variance" and is_training:
        var = x.var(correction=0).expand_as(mean)
    if fault == "eps 1e-8":
        eps = 1e-8
    if fault == "eps ignored":
        eps = 1e-5
    if fault == "momentum ignored":
        momentum = 0.9
    if is_training and fault == "state in place":
        running_mean.mul_(momentum).add_(mean, alpha=1 - momentum)
        running_var.mul_(momentum).add_(var, alpha=1 - momentum)
    elif is_training and fault == "state updated first":
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * var
        mean, var = running_mean, running_var
    elif is_training:
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * (var + eps if fault == "eps in the state" else var)
    if fault == "unit variance clamp":
        var = var.clamp(min=eps)
        eps = 0.0
    std = (var + eps).sqrt()
    x_hat = (x - mean) / std
    if fault == "x changed" and x.is_contiguous():
        x -= mean
    out = x_hat * gamma + beta
    if fault == "beta scaled":
        out = (x_hat + beta) * gamma
    if fault == "gamma added":
        out = x_hat + gamma * beta
    if fault == "keeps state axes":
        running_mean = running_mean[None]
    if fault == "state swapped":
        running_mean, running_var = running_var, running_mean
    if fault == "no cache":
        return out, running_mean, running_var
    return out, running_mean, running_var, (x, x_hat, mean, std, gamma, is_training)


def backward(dout, cache, fault=""):
    """The three gradients, spoilt by one ``fault``."""
    x, x_hat, _, std, gamma, is_training = cache
    dgamma, dbeta = (dout * x_hat).sum(0), dout.sum(0)
    back = dout * gamma
    if fault == "evaluation as in training":
        is_training = True
    if fault == "training as in evaluation":
        is_training = False
    dx = back / std
    if is_training:
        dx = (back - back.mean(0) - x_hat * (back * x_hat).mean(0)) / std
    if fault == "both sums unscaled" and is_training:
        dx = (back - back.sum(0) - x_hat * (back * x_hat).sum(0)) / std
    if fault == "unbiased means" and is_training:
        n = max(len(x) - 1, 1)
        dx = (back - back.sum(0) / n - x_hat * (back * x_hat).sum(0) / n) / std
    if fault == "multiplied by std":
        dx = dx * std * std
    if fault == "raw x in the product" and is_training:
        dx = (back - back.mean(0) - x * (back * x).mean(0)) / std
    if fault == "sign":
        dx = -dx
    if fault == "dgamma keeps rows":
        dgamma = dout * x_hat
    if fault == "order":
        return dx, dbeta, dgamma
    if fault == "two gradients":
        return dx, dgamma
    if fault == "dout changed":
        dout *= gamma
    if fault == "gamma squared":
        dx = dx * gamma
    return dx, dgamma, dbeta


def spoilt_forward(fault):
    def run(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
        return forward(x, gamma, beta, running_mean, running_var, is_training, momentum, eps, fault)

    return run


def spoilt_backward(fault):
    return lambda dout, cache: backward(dout, cache, fault)


FORWARD_FAULTS = (
    "difference of squares",
    "whole variance",
    "eps 1e-8",
    "eps ignored",
    "momentum ignored",
    "state in place",
    "state updated first",
    "eps in the state",
    "unit variance clamp",
    "x changed",
    "beta scaled",
    "gamma added",
    "keeps state axes",
    "state swapped",
    "no cache",
)
BACKWARD_FAULTS = (
    "evaluation as in training",
    "training as in evaluation",
    "both sums unscaled",
    "unbiased means",
    "multiplied by std",
    "raw x in the product",
    "sign",
    "dgamma keeps rows",
    "order",
    "two gradients",
    "dout changed",
    "gamma squared",
)


def ready_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    out = functional.batch_norm(x, running_mean.clone(), running_var.clone(), gamma, beta, is_training, 0.0, eps)
    _, mean, var, cache = forward(x, gamma, beta, running_mean, running_var, is_training, momentum, eps)
    return out, mean, var, cache


def looping_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    N, D = x.shape
    out, x_hat = torch.empty_like(x), torch.empty_like(x)
    means, spreads, roots = running_mean.clone(), running_var.clone(), torch.empty_like(gamma)
    for d in range(D):
        mean, var = running_mean[d], running_var[d]
        if is_training:
            mean = sum(x[:, d]) / N
            var = sum((value - mean) ** 2 for value in x[:, d]) / N
            means[d] = means[d] * momentum + mean * (1 - momentum)
            spreads[d] = spreads[d] * momentum + var * (1 - momentum)
        roots[d] = (var + eps) ** 0.5
        for i in range(N):
            x_hat[i, d] = (x[i, d] - mean) / roots[d]
            out[i, d] = gamma[d] * x_hat[i, d] + beta[d]
    return out, means, spreads, {"x_hat": x_hat, "std": roots, "gamma": gamma, "train": is_training}


def looping_backward(dout, cache):
    x_hat, std, gamma = cache["x_hat"], cache["std"], cache["gamma"]
    N, D = dout.shape
    dx, dgamma, dbeta = torch.zeros_like(dout), torch.zeros_like(gamma), torch.zeros_like(gamma)
    for d in range(D):
        for i in range(N):
            dgamma[d] += dout[i, d] * x_hat[i, d]
            dbeta[d] += dout[i, d]
        for i in range(N):
            taken = (dbeta[d] + x_hat[i, d] * dgamma[d]) / N if cache["train"] else 0.0
            dx[i, d] = gamma[d] / std[d] * (dout[i, d] - taken)
    return [dx, dgamma, dbeta]


def einsum_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    mean, var = running_mean, running_var
    if is_training:
        var, mean = torch.var_mean(x, dim=0, unbiased=False)
        running_mean, running_var = mean.lerp(running_mean, momentum), var.lerp(running_var, momentum)
    r = (var + eps).rsqrt()
    x_hat = torch.einsum("nd,d->nd", x - mean, r)
    return [torch.addcmul(beta, x_hat, gamma), running_mean, running_var, (x_hat, r * gamma, is_training)]


def einsum_backward(dout, cache):
    x_hat, scale, is_training = cache
    dgamma, dbeta = torch.einsum("nd,nd->d", dout, x_hat), torch.einsum("nd->d", dout)
    N = len(dout)
    if is_training:  # the Jacobian of every feature, written out as an N by N matrix
        jacobian = torch.eye(N, dtype=dout.dtype, device=dout.device)[:, :, None] - 1 / N
        jacobian = jacobian - torch.einsum("id,jd->ijd", x_hat, x_hat) / N
        return torch.einsum("ijd,jd,d->id", jacobian, dout, scale), dgamma, dbeta
    return dout * scale, dgamma, dbeta


def float32_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    given_ = [value.double() for value in (x, gamma, beta, running_mean, running_var)]
    out, mean, var, cache = forward(*given_, is_training, momentum, eps)
    return out.float(), mean.float(), var.float(), cache


def float32_backward(dout, cache):
    return tuple(value.float() for value in backward(dout.double(), cache))


batchnorm = Hidden(
    cases=CASES,
    mutants={
        **{fault: (spoilt_forward(fault), backward) for fault in FORWARD_FAULTS},
        **{f"backward: {fault}": (forward, spoilt_backward(fault)) for fault in BACKWARD_FAULTS},
        "leaves it to torch": (ready_forward, backward),
        "backward not written": (forward, lambda dout, cache: None),
    },
    solutions={
        "entry by entry, a dict for a cache": (looping_forward, looping_backward),
        "var_mean, einsum and the whole Jacobian, a list": (einsum_forward, einsum_backward),
        "results in float32": (float32_forward, float32_backward),
    },
    equivalent={
        "batchnorm_forward: x - mean -> mean - x": "the deviations are squared there, so their sign makes no difference",
    },
)


def _closed(dout, cache, fault=""):
    _, x_hat, _, std, gamma, is_training = cache
    N = len(dout)
    dbeta, dgamma = dout.sum(0), (dout * x_hat).sum(0)
    if not is_training and fault != "evaluation as in training":
        dx = dout * gamma / std
        if fault == "no gamma in evaluation":
            dx = dout / std
        return dx, dgamma, dbeta
    bracket = N * dout - dbeta - x_hat * dgamma
    if fault == "dgamma for dbeta":
        bracket = N * dout - dgamma - x_hat * dbeta
    if fault == "no N inside":
        bracket = dout - dbeta - x_hat * dgamma
    if fault == "multiplied by the norm":
        bracket = N * dout - dbeta - dgamma
    if fault == "variance in front":
        std = std * std
    dx = gamma / (N * std) * bracket
    if fault == "rows of one":
        dx = dx[:1].expand_as(dx)
    if fault == "order":
        return dx, dbeta, dgamma
    if fault == "averaged":
        return dx, dgamma / N, dbeta / N
    return dx, dgamma, dbeta


def _spoilt_closed(fault):
    return lambda dout, cache: _closed(dout, cache, fault)


def _by_steps(dout, cache):
    x, x_hat, _, std, gamma, is_training = cache
    back = dout * gamma
    if not is_training:
        return back / std, (dout * x_hat).sum(0), dout.sum(0)
    centred = x_hat * std
    dvar = (back * centred).sum(0) * -0.5 / std**3
    dmean = -(back / std).sum(0) - 2 * dvar * centred.mean(0)
    dx = back / std + 2 * centred * dvar / len(x) + dmean / len(x)
    return [dx, (dout * x_hat).sum(0), dout.sum(0)]


def batchnorm_backward(dout, cache):
    return backward(dout, cache)


def _calling(dout, cache):
    return batchnorm_backward(dout, cache)


def _with_the_jacobian(dout, cache):
    _, x_hat, _, std, gamma, is_training = cache
    return einsum_backward(dout, (x_hat, gamma / std, is_training))


batchnorm_forward = forward
"""Found by the check beside the functions below, as it is in a notebook."""

batchnorm_backward_alt = Hidden(
    cases=CASES,
    mutants={
        **{
            fault: _spoilt_closed(fault)
            for fault in (
                "evaluation as in training",
                "no gamma in evaluation",
                "dgamma for dbeta",
                "no N inside",
                "multiplied by the norm",
                "variance in front",
                "rows of one",
                "order",
                "averaged",
            )
        },
        "calls the other backward": _calling,
        "not written": lambda dout, cache: None,
    },
    solutions={
        "N inside the bracket": _closed,
        "step by step after all, a list": _by_steps,
        "a Jacobian": _with_the_jacobian,
        "in float32": float32_backward,
    },
)
