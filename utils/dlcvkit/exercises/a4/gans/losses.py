"""Losses of the two nets: binary cross-entropy on logits, its two uses, and least squares."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Mistake, given, normal, uniform
from dlcvkit.exercises.a4.gans.slopes import measured, with_slopes

cross_entropy = functional.binary_cross_entropy_with_logits


def _wrong(measure, name, loss, hint):
    return Mistake(name, measured(measure, loss), hint=hint)


def _measure_bce(loss, **inputs):
    return with_slopes(loss, ("logits",), inputs)


def _by_probability(small=0.0):
    def loss(logits, targets):
        p = logits.sigmoid()
        return -(targets * (p + small).log() + (1 - targets) * (1 - p + small).log()).mean()

    return loss


def _by_corners(logits, targets):
    return (logits.clamp(min=0) - logits * targets + (-logits.abs()).exp().log1p()).mean()


_AT_ZERO_HINT = (
    "max(x, 0) and |x| have corners at 0 and autograd takes each by itself: look for a softplus without corners"
)

bce_with_logits = Function(
    functions=("bce_with_logits",),
    reference=measured(_measure_bce, cross_entropy),
    call=_measure_bce,
    cases=[
        Case("targets between 0 and 1", logits=normal(3, 5, std=2.0), targets=uniform(3, 5)),
        Case(
            "logits of 200 in float32",
            logits=given([[200.0, -200.0, 3.0], [-200.0, 200.0, -1.0]]),
            targets=given([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        ).float32(),
        Case("logits of 0", logits=given([0.0, 0.0, 0.0, 1.5]), targets=given([1.0, 0.0, 0.25, 0.0])),
    ],
    points={"loss": 2, "dlogits": 2},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _wrong(
            _measure_bce,
            "takes the logarithm of a probability that has become 0",
            _by_probability(),
            "write the loss with softplus, so that no probability is ever computed",
        ),
        _wrong(
            _measure_bce,
            "hides the logarithm of zero behind a small number",
            _by_probability(1e-8),
            "the loss of a confident wrong answer is about |x|, and its slope about 1: a small number cuts both off",
        ),
        _wrong(
            _measure_bce,
            "takes the exponential of a large number",
            lambda logits, targets: (logits.exp().log1p() - logits * targets).mean(),
            "softplus must never see the exponential of a positive number",
        ),
        _wrong(
            _measure_bce,
            "takes the exponential of minus the logit, which is large for negative ones",
            lambda logits, targets: (logits.clamp(min=0) - logits * targets + (-logits).exp().log1p()).mean(),
            "which exponent is never positive, whatever the sign of the logit?",
        ),
        _wrong(_measure_bce, "has the slope of a corner where a logit is exactly 0", _by_corners, _AT_ZERO_HINT),
        _wrong(
            _measure_bce,
            "adds up instead of averaging",
            lambda logits, targets: cross_entropy(logits, targets, reduction="sum"),
            "the loss is a mean over all entries",
        ),
        _wrong(
            _measure_bce,
            "averages over the first axis only",
            lambda logits, targets: cross_entropy(logits, targets, reduction="sum") / len(logits),
            "the loss is a mean over all entries, whatever axes they have",
        ),
        _wrong(
            _measure_bce,
            "takes 1 for 0 in the targets",
            lambda logits, targets: cross_entropy(logits, 1 - targets),
            "a large logit should cost nothing where the target is 1",
        ),
        _wrong(
            _measure_bce,
            "leaves out the part where the target is 0",
            lambda logits, targets: (targets * functional.softplus(-logits)).mean(),
            "both outcomes cost something: t times one term plus 1 - t times another",
        ),
        _wrong(
            _measure_bce,
            "rounds the targets to 0 or 1",
            lambda logits, targets: cross_entropy(logits, (targets >= 0.5).to(logits.dtype)),
            "a target may be any number from 0 to 1",
        ),
        _wrong(
            _measure_bce,
            "has the opposite sign",
            lambda logits, targets: -cross_entropy(logits, targets),
            "logarithms of probabilities are negative, and a loss is not",
        ),
    ],
)


def softplus(x):
    return functional.softplus(x, threshold=60)


def _measure_d(loss, **inputs):
    return with_slopes(loss, ("logits_real", "logits_fake"), inputs)


def _d_loss(logits_real, logits_fake):
    return softplus(-logits_real).mean() + softplus(logits_fake).mean()


def _pooled(logits_real, logits_fake):
    return torch.cat([softplus(-logits_real).flatten(), softplus(logits_fake).flatten()]).mean()


_POOLED_HINT = "each of the two expectations is a mean over its own images, and the two means are added"

discriminator_loss = Function(
    functions=("discriminator_loss",),
    reference=measured(_measure_d, _d_loss),
    call=_measure_d,
    cases=[
        Case("5 real and 3 generated images", logits_real=normal(5, 1, std=2.0), logits_fake=normal(3, 1, std=2.0)),
        Case(
            "logits of 200 in float32",
            logits_real=given([[200.0], [-200.0], [1.0]]),
            logits_fake=given([[200.0], [-200.0], [-3.0]]),
        ).float32(),
    ],
    points={"loss": 1, "dlogits_real": 1, "dlogits_fake": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _wrong(
            _measure_d,
            "exchanges real and generated images",
            lambda r, f: _d_loss(f, r),
            "D should give a large logit to real images and a small one to generated ones",
        ),
        _wrong(_measure_d, "takes half of the sum", lambda r, f: _d_loss(r, f) / 2, _POOLED_HINT),
        _wrong(_measure_d, "takes one mean over real and generated images together", _pooled, _POOLED_HINT),
        _wrong(
            _measure_d,
            "forgets the generated images",
            lambda r, f: softplus(-r).mean(),
            "D has two kinds of images to get right",
        ),
        _wrong(
            _measure_d,
            "forgets the real images",
            lambda r, f: softplus(f).mean(),
            "D has two kinds of images to get right",
        ),
        _wrong(
            _measure_d,
            "takes all images for real ones",
            lambda r, f: softplus(-r).mean() + softplus(-f).mean(),
            "the target of a generated image is 0",
        ),
        _wrong(
            _measure_d,
            "adds up instead of averaging",
            lambda r, f: softplus(-r).sum() + softplus(f).sum(),
            _POOLED_HINT,
        ),
        _wrong(
            _measure_d,
            "takes the difference of the two means",
            lambda r, f: softplus(-r).mean() - softplus(f).mean(),
            "both are losses of D, which wants both small",
        ),
        _wrong(
            _measure_d,
            "has the opposite sign",
            lambda r, f: -_d_loss(r, f),
            "D maximises the value V, and a loss is what is minimised",
        ),
    ],
)


def _measure_g(loss, **inputs):
    return with_slopes(loss, ("logits_fake",), inputs)


generator_loss = Function(
    functions=("generator_loss",),
    reference=measured(_measure_g, lambda logits_fake: softplus(-logits_fake).mean()),
    call=_measure_g,
    cases=[
        Case("5 images", logits_fake=normal(5, 1, std=2.0)),
        Case("logits of 200 in float32", logits_fake=given([[200.0], [-200.0], [0.5]])).float32(),
    ],
    points={"loss": 1, "dlogits_fake": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _wrong(
            _measure_g,
            "is the saturating loss, the mean of log(1 - D)",
            lambda f: -softplus(f).mean(),
            "the loss asked for is minus the logarithm of the probability that D takes the image for real",
        ),
        _wrong(
            _measure_g,
            "is the loss of D",
            lambda f: softplus(f).mean(),
            "G wants its images to be taken for real: their target is 1 here",
        ),
        _wrong(
            _measure_g,
            "has the opposite sign",
            lambda f: -softplus(-f).mean(),
            "the loss of G is positive, and falls as logits rise",
        ),
        _wrong(_measure_g, "adds up instead of averaging", lambda f: softplus(-f).sum(), "it is a mean over images"),
        _wrong(
            _measure_g,
            "leaves the logarithm out",
            lambda f: 1 - f.sigmoid().mean(),
            "it is minus the logarithm of a probability",
        ),
        _wrong(_measure_g, "has a factor one half", lambda f: softplus(-f).mean() / 2, "no half stands in this loss"),
    ],
)


def _measure_ls(loss, **inputs):
    return with_slopes(loss, ("scores_real", "scores_fake"), inputs)


def _square(scores, target):
    return functional.mse_loss(scores, torch.full_like(scores, target))


def _ls(real=1.0, fake=0.0, real_weight=0.5, fake_weight=0.5):
    return lambda r, f: real_weight * _square(r, real) + fake_weight * _square(f, fake)


_HALF_HINT = "a factor one half stands before each of the two means"

ls_discriminator_loss = Function(
    functions=("ls_discriminator_loss",),
    reference=measured(_measure_ls, _ls()),
    call=_measure_ls,
    cases=[
        Case("5 real and 3 generated images", scores_real=normal(5, 1, std=2.0), scores_fake=normal(3, 1, std=2.0)),
        Case("scores on target", scores_real=given([[1.0], [1.0]]), scores_fake=given([[0.0], [2.0], [0.0]])),
    ],
    points={"loss": 1, "dscores_real": 1, "dscores_fake": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _wrong(_measure_ls, "leaves the factor one half out", _ls(real_weight=1.0, fake_weight=1.0), _HALF_HINT),
        _wrong(_measure_ls, "halves the part of the real images only", _ls(fake_weight=1.0), _HALF_HINT),
        _wrong(_measure_ls, "halves the part of the generated images only", _ls(real_weight=1.0), _HALF_HINT),
        _wrong(
            _measure_ls,
            "takes the difference of the two means",
            _ls(fake_weight=-0.5),
            "both are losses of D, which wants both small",
        ),
        _wrong(
            _measure_ls,
            "exchanges the targets",
            _ls(real=0.0, fake=1.0),
            "which score should a real image have, and which a generated one?",
        ),
        _wrong(
            _measure_ls,
            "takes -1 as the target of generated images",
            _ls(fake=-1.0),
            "here the target of a generated image is 0",
        ),
        _wrong(
            _measure_ls,
            "adds up instead of averaging",
            lambda r, f: ((r - 1) ** 2).sum() / 2 + (f**2).sum() / 2,
            "each part is a mean over its own images",
        ),
        _wrong(
            _measure_ls,
            "squares the mean instead of averaging squares",
            lambda r, f: (r.mean() - 1) ** 2 / 2 + f.mean() ** 2 / 2,
            "square the distance of each score by itself, then average",
        ),
        _wrong(
            _measure_ls,
            "makes probabilities of the scores",
            lambda r, f: _ls()(r.sigmoid(), f.sigmoid()),
            "scores are compared with their targets as they are: no sigmoid",
        ),
        _wrong(
            _measure_ls,
            "takes one mean over real and generated images together",
            lambda r, f: torch.cat([(r - 1).flatten() ** 2, f.flatten() ** 2]).mean() / 2,
            "each part is a mean over its own images",
        ),
        _wrong(
            _measure_ls,
            "forgets the generated images",
            _ls(fake_weight=0.0),
            "D has two kinds of images to get right",
        ),
    ],
)


def _measure_ls_g(loss, **inputs):
    return with_slopes(loss, ("scores_fake",), inputs)


ls_generator_loss = Function(
    functions=("ls_generator_loss",),
    reference=measured(_measure_ls_g, lambda scores_fake: 0.5 * _square(scores_fake, 1.0)),
    call=_measure_ls_g,
    cases=[
        Case("5 images", scores_fake=normal(5, 1, std=2.0)),
        Case("scores far off", scores_fake=given([[200.0], [-200.0], [1.0], [0.0]])),
    ],
    points={"loss": 1, "dscores_fake": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _wrong(
            _measure_ls_g, "leaves the factor one half out", lambda f: _square(f, 1.0), "a factor one half is there"
        ),
        _wrong(
            _measure_ls_g,
            "takes the target of D",
            lambda f: _square(f, 0.0) / 2,
            "G wants its images to get the score of a real one",
        ),
        _wrong(
            _measure_ls_g,
            "has the opposite sign",
            lambda f: -_square(f, 1.0) / 2,
            "G wants the distance from 1 to be small",
        ),
        _wrong(
            _measure_ls_g,
            "is minus the loss of D",
            lambda f: -_square(f, 0.0) / 2,
            "G has a target of its own: which score would it like its images to get?",
        ),
        _wrong(
            _measure_ls_g,
            "squares the mean instead of averaging squares",
            lambda f: (f.mean() - 1) ** 2 / 2,
            "square the distance of each score by itself, then average",
        ),
        _wrong(
            _measure_ls_g,
            "adds up instead of averaging",
            lambda f: ((f - 1) ** 2).sum() / 2,
            "it is a mean over the images",
        ),
        _wrong(
            _measure_ls_g,
            "makes probabilities of the scores",
            lambda f: _square(f.sigmoid(), 1.0) / 2,
            "scores are compared with their target as they are: no sigmoid",
        ),
    ],
)
