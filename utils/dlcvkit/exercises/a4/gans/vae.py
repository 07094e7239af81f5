"""The two parts of the loss of a variational autoencoder."""

from __future__ import annotations

import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as divergence_of
from torch.nn import functional

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Mistake, given, normal, uniform
from dlcvkit.exercises.a4.gans.slopes import measured, with_slopes


def _kl_entries(mu, logvar):
    code = Normal(mu, (logvar / 2).exp())
    return divergence_of(code, Normal(torch.zeros_like(mu), torch.ones_like(mu)))


def kl(mu, logvar):
    """The divergence of each code from the standard normal distribution, shape (N,)."""
    return _kl_entries(mu, logvar).sum(1)


def _kl_of(term):
    return lambda mu, logvar: term(mu, logvar).sum(1)


def _reversed(mu, logvar):
    code = Normal(mu, (logvar / 2).exp())
    return divergence_of(Normal(torch.zeros_like(mu), torch.ones_like(mu)), code).sum(1)


kl_divergence = Function(
    functions=("kl_divergence",),
    reference=kl,
    cases=[
        Case("5 codes of 3 entries", mu=normal(5, 3), logvar=normal(5, 3)),
        Case(
            "the standard normal, and others",
            mu=given([[0.0, 0.0], [2.0, 0.0]]),
            logvar=given([[0.0, 0.0], [0.0, 1.0]]),
        ),
    ],
    points={"kl": 3},
    forbidden=TORCH_LAYERS,
    mistakes=[
        Mistake(
            "leaves the factor one half out",
            lambda mu, logvar: 2 * kl(mu, logvar),
            hint="a factor one half stands before the sum",
        ),
        Mistake(
            "has the opposite sign",
            lambda mu, logvar: -kl(mu, logvar),
            hint="a divergence is never negative",
        ),
        Mistake(
            "averages over the entries of a code",
            lambda mu, logvar: kl(mu, logvar) / mu.shape[1],
            hint="independent entries: their divergences add up",
        ),
        Mistake(
            "averages over the images as well",
            lambda mu, logvar: kl(mu, logvar).mean(),
            hint="one number for each of the N codes is wanted",
        ),
        Mistake(
            "does not add up over the entries of a code",
            _kl_entries,
            hint="one number for each of the N codes is wanted",
        ),
        Mistake(
            "adds up over the images instead of the entries",
            lambda mu, logvar: _kl_entries(mu, logvar).sum(0),
            hint="which axis holds the entries of a code?",
        ),
        Mistake(
            "takes the logarithm of logvar, which is one already",
            _kl_of(lambda mu, v: 0.5 * (mu**2 + v - 1 - v.log())),
            hint="logvar is a logarithm as it comes in: the variance is its exponential",
        ),
        Mistake(
            "takes logvar for the logarithm of the standard deviation",
            _kl_of(lambda mu, s: 0.5 * (mu**2 + (2 * s).exp() - 1 - 2 * s)),
            hint="logvar is the logarithm of the variance, the square of the standard deviation",
        ),
        Mistake(
            "takes half of logvar, but in one place only",
            _kl_of(lambda mu, s: 0.5 * (mu**2 + (s / 2).exp() - 1 - s)),
            hint="the variance stands in the formula twice: as itself and as its logarithm",
        ),
        Mistake(
            "leaves mu unsquared",
            _kl_of(lambda mu, s: 0.5 * (mu + s.exp() - 1 - s)),
            hint="how far the mean is from 0 counts, in either direction",
        ),
        Mistake(
            "leaves the mean out",
            _kl_of(lambda mu, s: 0.5 * (s.exp() - 1 - s)),
            hint="a code far from 0 should cost something",
        ),
        Mistake(
            "adds the logarithm of the variance instead of subtracting it",
            _kl_of(lambda mu, s: 0.5 * (mu**2 + s.exp() - 1 + s)),
            hint="a code with a very small variance should cost much",
        ),
        Mistake(
            "leaves the 1 out",
            _kl_of(lambda mu, s: 0.5 * (mu**2 + s.exp() - s)),
            hint="the standard normal distribution should cost 0",
        ),
        Mistake(
            "exchanges the two distributions",
            _reversed,
            hint="the expectation is taken over the code's distribution, not over the prior",
        ),
    ],
)


def _pixels(logits, x):
    """The cross-entropy of each image, added up over its pixels, shape (N,)."""
    return functional.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def _vae(image=_pixels, code=kl, combine=lambda r, d, beta: (r + beta * d).mean()):
    return lambda logits, x, mu, logvar, beta: combine(image(logits, x), code(mu, logvar), beta)


def _measure(loss, **inputs):
    return with_slopes(loss, ("logits", "mu", "logvar"), inputs)


def _wrong(name, loss, hint):
    return Mistake(name, measured(_measure, loss), hint=hint)


vae_loss = Function(
    functions=("vae_loss",),
    reference=measured(_measure, _vae()),
    call=_measure,
    cases=[
        Case(
            "4 images of 3×5, codes of 2",
            logits=normal(4, 1, 3, 5),
            x=uniform(4, 1, 3, 5),
            mu=normal(4, 2),
            logvar=normal(4, 2),
            beta=1.0,
        ),
        Case(
            "beta 4",
            logits=normal(3, 1, 2, 3, std=3.0),
            x=uniform(3, 1, 2, 3),
            mu=normal(3, 5),
            logvar=normal(3, 5),
            beta=4.0,
        ),
    ],
    points={"loss": 2, "dlogits": 1, "dmu": 1, "dlogvar": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _wrong(
            "averages over the pixels instead of adding up",
            _vae(image=lambda logits, x: _pixels(logits, x) / x[0].numel()),
            "the pixels of an image are added up; otherwise the code's part outweighs them by far",
        ),
        _wrong(
            "adds up over the images instead of averaging",
            _vae(combine=lambda r, d, beta: (r + beta * d).sum()),
            "both parts are averaged over the N images",
        ),
        _wrong(
            "adds up the code's part over the images",
            _vae(combine=lambda r, d, beta: r.mean() + beta * d.sum()),
            "both parts are averaged over the N images",
        ),
        _wrong(
            "adds up the images' part over the images",
            _vae(combine=lambda r, d, beta: r.sum() + beta * d.mean()),
            "both parts are averaged over the N images",
        ),
        _wrong(
            "leaves beta out",
            _vae(combine=lambda r, d, beta: (r + d).mean()),
            "beta is the weight of the divergence",
        ),
        _wrong(
            "puts beta before the wrong part",
            _vae(combine=lambda r, d, beta: (beta * r + d).mean()),
            "beta is the weight of the divergence",
        ),
        _wrong(
            "subtracts the divergence",
            _vae(combine=lambda r, d, beta: (r - beta * d).mean()),
            "minus the bound is minimised: how does the divergence stand in it?",
        ),
        _wrong(
            "leaves the divergence out",
            _vae(combine=lambda r, d, beta: r.mean()),
            "the loss has two parts",
        ),
        _wrong(
            "leaves the images out",
            _vae(combine=lambda r, d, beta: beta * d.mean()),
            "the loss has two parts",
        ),
        _wrong(
            "averages the divergence over the entries of a code",
            _vae(code=lambda mu, logvar: kl(mu, logvar) / mu.shape[1]),
            "kl_divergence has added up over the entries of a code; only images are averaged over",
        ),
        _wrong(
            "takes squared differences of pixels",
            _vae(image=lambda logits, x: ((logits.sigmoid() - x) ** 2).flatten(1).sum(1)),
            "the first part is the cross-entropy of the pixels",
        ),
        _wrong(
            "applies the sigmoid twice",
            _vae(image=lambda logits, x: _pixels(logits.sigmoid(), x)),
            "bce_with_logits wants logits, and these are logits already",
        ),
    ],
)
