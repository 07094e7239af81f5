"""Divergence, and the loss of a variational autoencoder."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal, uniform


def _kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1)


def _kl_in_place(mu, logvar):
    result = _kl(mu, logvar)
    mu.zero_()
    return result


def _kl_by_entry(mu, logvar):
    result = []
    for means, logs in zip(mu, logvar, strict=True):
        total = torch.zeros_like(means[0])
        for m, s in zip(means, logs, strict=True):
            total = total - (1 + s - m * m - torch.exp(s)) / 2
        result.append(total)
    return torch.stack(result)


def _kl_einsum(mu, logvar):
    squares = torch.einsum("nz,nz->n", mu, mu)
    return (squares + torch.expm1(logvar).sum(1) - logvar.sum(1)).div(2)


kl_divergence = Hidden(
    cases=[
        Case("one code", mu=normal(1, 4), logvar=normal(1, 4)),
        Case("codes of 1", mu=normal(5, 1), logvar=normal(5, 1)),
        Case("one code of 1", mu=normal(1, 1), logvar=normal(1, 1)),
        Case("as many codes as entries", mu=normal(4, 4), logvar=normal(4, 4)),
        Case("non-contiguous", mu=normal(3, 5), logvar=normal(3, 5)).strided(),
        Case("float32", mu=normal(6, 2), logvar=normal(6, 2)).float32(),
        Case("all standard normal", mu=normal(3, 4, std=0.0), logvar=normal(3, 4, std=0.0)),
        Case("very narrow", mu=normal(3, 2), logvar=normal(3, 2, mean=-90.0)),
        Case("very wide", mu=normal(3, 2), logvar=normal(3, 2, mean=60.0)),
        Case("far from 0", mu=normal(3, 2, mean=-500.0), logvar=normal(3, 2)),
        Case("mean 0", mu=normal(3, 2, std=0.0), logvar=normal(3, 2)),
        Case("variance 1", mu=normal(3, 2), logvar=normal(3, 2, std=0.0)),
    ],
    mutants={
        "changes mu": _kl_in_place,
        "cuts the variance off": lambda mu, logvar: _kl(mu, logvar.clamp(-20, 20)),
        "keeps the axis": lambda mu, logvar: _kl(mu, logvar)[:, None],
        "sum of all": lambda mu, logvar: _kl(mu, logvar).sum(),
        "absolute value of the logarithm": lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1 - logvar.abs()).sum(1),
        "squares the logarithm": lambda mu, logvar: 0.5 * (mu**2 + logvar**2).sum(1),
        "at most 10 per entry": lambda mu, logvar: (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).clamp(max=10).sum(1),
        "largest entry": lambda mu, logvar: (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).amax(1),
        "float32": lambda mu, logvar: _kl(mu, logvar).half(),
    },
    solutions={
        "entry by entry": _kl_by_entry,
        "einsum and expm1": _kl_einsum,
        "in float32": lambda mu, logvar: _kl(mu.float(), logvar.float()),
    },
)


def _pixels(logits, x):
    return torch.logaddexp(logits, torch.zeros_like(logits)) - x * logits


def _vae(logits, x, mu, logvar, beta=1.0):
    return _pixels(logits, x).sum((1, 2, 3)).mean() + beta * _kl(mu, logvar).mean()


def _vae_image_by_image(logits, x, mu, logvar, beta=1.0):
    losses = []
    for i in range(len(x)):
        drawing = torch.maximum(logits[i], 0 * logits[i]) + (-logits[i].abs()).exp().log1p() - x[i] * logits[i]
        losses.append(drawing.sum() + beta * _kl_by_entry(mu[i : i + 1], logvar[i : i + 1])[0])
    return sum(losses) / len(losses)


def _vae_in_one_sum(logits, x, mu, logvar, beta=1.0):
    N = x.shape[0]
    code = 0.5 * (mu.pow(2) + torch.expm1(logvar) - logvar)
    return (_pixels(logits, x).sum() + code.sum() * beta) / N


def _fixed(logits, x, mu, logvar, beta=1.0):
    return _pixels(logits, x).sum((1, 2, 3)).mean() * 784 / x[0].numel() + beta * _kl(mu, logvar).mean()


def _case(name, images, code, beta, std=1.0):
    return Case(
        name,
        logits=normal(*images, std=std),
        x=uniform(*images),
        mu=normal(images[0], code),
        logvar=normal(images[0], code),
        beta=beta,
    )


vae_loss = Hidden(
    cases=[
        _case("one image", (1, 1, 3, 4), 2, 1.0),
        _case("colours", (3, 3, 2, 5), 4, 1.0),
        _case("one pixel, codes of 1", (5, 1, 1, 1), 1, 2.0),
        _case("beta 0", (3, 1, 4, 3), 2, 0.0),
        _case("beta 0.5", (2, 1, 5, 4), 3, 0.5),
        _case("beta 100", (4, 1, 2, 3), 2, 100.0),
        _case("non-contiguous", (3, 2, 4, 3), 2, 1.5).strided(),
        _case("float32", (4, 1, 6, 5), 3, 1.0).float32(),
        _case("logits of 200", (3, 1, 4, 3), 2, 1.0, std=200.0),
        _case("float32, logits of 200", (3, 1, 4, 3), 2, 3.0, std=200.0).float32(),
        Case(
            "black and white",
            logits=normal(2, 1, 2, 2),
            x=given([[[[0.0, 1.0], [1.0, 0.0]]], [[[1.0, 1.0], [0.0, 0.0]]]]),
            mu=normal(2, 3),
            logvar=normal(2, 3),
            beta=1.0,
        ),
    ],
    mutants={
        "returns a number": lambda *given: float(_vae(*given)),
        "cuts the images off": lambda logits, *rest: _vae(logits.detach(), *rest),
        "cuts the codes off": lambda logits, x, mu, logvar, beta: _vae(logits, x, mu.detach(), logvar.detach(), beta),
        "one loss per image": lambda logits, x, mu, logvar, beta: (
            _pixels(logits, x).sum((1, 2, 3)) + beta * _kl(mu, logvar)
        ),
        "takes one channel": lambda logits, x, *rest: _vae(logits[:, :1], x[:, :1], *rest),
        "784 pixels whatever comes in": _fixed,
        "beta squared": lambda logits, x, mu, logvar, beta: _vae(logits, x, mu, logvar, beta**2),
        "first image only": lambda logits, x, mu, logvar, beta: _vae(logits[:1], x[:1], mu[:1], logvar[:1], beta),
        "returns both parts": lambda logits, x, mu, logvar, beta: (
            _vae(logits, x, mu, logvar, 0.0),
            beta * _kl(mu, logvar).mean(),
        ),
        "by way of the probability": lambda logits, x, mu, logvar, beta: (
            -(x * logits.sigmoid().log() + (1 - x) * (1 - logits.sigmoid()).log()).sum((1, 2, 3)).mean()
            + beta * _kl(mu, logvar).mean()
        ),
        "rounds the pixels": lambda logits, x, *rest: _vae(logits, x.round(), *rest),
    },
    solutions={
        "written out": _vae,
        "image by image": _vae_image_by_image,
        "one sum": _vae_in_one_sum,
    },
    equivalent={"vae_loss: x[0] -> x[-1]": "all images of a batch have equally many pixels"},
)
