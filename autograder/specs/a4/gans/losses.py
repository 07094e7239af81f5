"""Cross-entropy on logits, the losses of the two players, and least squares."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal, uniform


def _soft(x):
    """Softplus with the right slope at 0."""
    return torch.maximum(x, torch.zeros_like(x)) + torch.log1p(torch.exp(-x.abs()))


def _bce(logits, targets):
    return (_soft(logits) - targets * logits).mean()


def _bce_in_two_parts(logits, targets):
    return torch.mean(
        targets * torch.logaddexp(logits * 0, -logits) + (1 - targets) * torch.logaddexp(logits * 0, logits)
    )


class _CrossEntropy(torch.autograd.Function):
    """With its gradient written by hand."""

    @staticmethod
    def forward(context, logits, targets):
        context.save_for_backward(logits, targets)
        return (logits.clamp(min=0) - logits * targets + torch.exp(-torch.abs(logits)).log1p()).mean()

    @staticmethod
    def backward(context, upstream):
        logits, targets = context.saved_tensors
        return upstream * (torch.sigmoid(logits) - targets) / logits.numel(), None


def _bce_by_entry(logits, targets):
    total = 0.0
    for s, t in zip(logits.reshape(-1), targets.reshape(-1), strict=True):
        total = total + torch.logaddexp(torch.zeros_like(s), s) - t * s
    return total / logits.numel()


def _bce_by_sign(logits, targets):
    """Each branch sees only numbers that it can take."""
    small, large = torch.where(logits > 0, -logits, logits), torch.where(logits > 0, logits, torch.zeros_like(logits))
    return (large + small.exp().log1p() - targets * logits).mean()


def _in_place(logits, targets):
    value = _bce(logits, targets)
    targets.mul_(0.9)
    return value


bce_with_logits = Hidden(
    cases=[
        Case("one entry", logits=normal(1, 1), targets=uniform(1, 1)),
        Case("one number without axes", logits=given(-1.5), targets=given(0.25)),
        Case("images", logits=normal(2, 1, 3, 4, std=5.0), targets=uniform(2, 1, 3, 4)),
        Case("non-contiguous", logits=normal(3, 4, 2), targets=uniform(3, 4, 2)).strided(),
        Case("float32", logits=normal(7, 1, std=3.0), targets=uniform(7, 1)).float32(),
        Case("logits of 200 in float64", logits=given([200.0, -200.0, 200.0]), targets=given([0.0, 1.0, 0.5])),
        Case("logits of 10,000", logits=given([[1e4, -1e4], [-1e4, 1e4]]), targets=given([[1.0, 0.0], [1.0, 0.0]])),
        Case("logits of 10,000 in float32", logits=given([1e4, -1e4, 1.0]), targets=given([0.3, 0.6, 1.0])).float32(),
        Case("sure and right", logits=given([40.0, -40.0, 0.5]), targets=given([1.0, 0.0, 1.0])),
        Case("all logits 0", logits=normal(3, 2, std=0.0), targets=uniform(3, 2)),
        Case("all targets 1", logits=normal(4, 3), targets=given([[1.0] * 3] * 4)),
        Case("close to 0", logits=normal(4, 3, std=1e-6), targets=uniform(4, 3)),
    ],
    mutants={
        "changes the targets": _in_place,
        "returns a number": lambda logits, targets: _bce(logits, targets).item(),
        "cuts the gradient off": lambda logits, targets: _bce(logits.detach(), targets),
        "does not average": lambda logits, targets: _soft(logits) - targets * logits,
        "clamps the logits": lambda logits, targets: _bce(logits.clamp(-50, 50), targets),
        "takes matrices only": lambda logits, targets: _bce(logits[:, :], targets),
        "ready-made": lambda logits, targets: functional.binary_cross_entropy_with_logits(logits, targets),
        "ready-made softplus": lambda logits, targets: (functional.softplus(logits) - targets * logits).mean(),
        "targets without device": lambda logits, targets: _bce(
            logits, torch.tensor(targets.tolist(), dtype=logits.dtype)
        ),
        "squared error of the probability": lambda logits, targets: ((logits.sigmoid() - targets) ** 2).mean(),
        "median": lambda logits, targets: (_soft(logits) - targets * logits).median(),
    },
    solutions={
        "maximum and log1p": _bce,
        "in two parts": _bce_in_two_parts,
        "gradient by hand": lambda logits, targets: _CrossEntropy.apply(logits, targets),
        "entry by entry": _bce_by_entry,
        "logsumexp": lambda logits, targets: (
            torch.logsumexp(torch.stack([logits, torch.zeros_like(logits)]), 0) - logits * targets
        ).mean(),
    },
    equivalent={
        "bce_with_logits: torch.logaddexp(logits, torch.zeros_like(logits)) -> "
        "torch.logaddexp(torch.zeros_like(logits), logits)": "the sum under the logarithm may be taken in either order",
    },
)


def _d_loss(logits_real, logits_fake):
    return _soft(-logits_real).mean() + _soft(logits_fake).mean()


def _d_loss_by_ones(logits_real, logits_fake):
    device, dtype = logits_real.device, logits_real.dtype
    ones = torch.ones(len(logits_real), 1, device=device, dtype=dtype)
    zeros = torch.zeros(len(logits_fake), 1, device=device, dtype=dtype)
    return _bce(logits_fake, zeros) + _bce(logits_real, ones)


def _homeless(logits_real, logits_fake):
    return _bce(logits_real, torch.ones(logits_real.shape)) + _bce(logits_fake, torch.zeros(logits_fake.shape))


def _players(real, fake):
    """Inputs named as the losses on logits name them."""
    return {"logits_real": real, "logits_fake": fake}


discriminator_loss = Hidden(
    cases=[
        Case("one image of each", **_players(normal(1, 1), normal(1, 1))),
        Case("one real image, seven generated", **_players(normal(1, 1), normal(7, 1))),
        Case("equal numbers", **_players(normal(6, 1), normal(6, 1))),
        Case("non-contiguous", **_players(normal(4, 1), normal(3, 1))).strided(),
        Case("float32", **_players(normal(5, 1), normal(4, 1))).float32(),
        Case("logits of 10,000", **_players(given([[1e4], [-1e4]]), given([[1e4], [-1e4], [0.0]]))),
        Case("a coin", **_players(normal(5, 1, std=0.0), normal(4, 1, std=0.0))),
        Case("sure and right", **_players(normal(3, 1, mean=60.0), normal(4, 1, mean=-60.0))),
    ],
    mutants={
        "returns a number": lambda r, f: float(_d_loss(r, f)),
        "cuts the generated images off": lambda r, f: _d_loss(r, f.detach()),
        "first image only": lambda r, f: _d_loss(r[:1], f[:1]),
        "as many real as generated": lambda r, f: _d_loss(r[: len(f)], f[: len(r)]),
        "by way of the probability": lambda r, f: -r.sigmoid().log().mean() - (1 - f.sigmoid()).log().mean(),
        "makes tensors without device": _homeless,
        "returns both parts": lambda r, f: (_soft(-r).mean(), _soft(f).mean()),
        "smooths the targets": lambda r, f: _bce(r, torch.full_like(r, 0.9)) + _bce(f, torch.zeros_like(f)),
        "least squares": lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,
        "differences of logits": lambda r, f: f.mean() - r.mean(),
    },
    solutions={
        "softplus by hand": _d_loss,
        "with ones and zeros": _d_loss_by_ones,
        "sums divided by the number": lambda r, f: (
            torch.logaddexp(-r, 0 * r).sum() / len(r) + torch.logaddexp(0 * f, f).sum() / len(f)
        ),
    },
)

generator_loss = Hidden(
    cases=[
        Case("one image", logits_fake=normal(1, 1)),
        Case("non-contiguous", logits_fake=normal(4, 1)).strided(),
        Case("float32", logits_fake=normal(6, 1, std=3.0)).float32(),
        Case("logits of 10,000", logits_fake=given([[1e4], [-1e4], [0.25]])),
        Case("a coin", logits_fake=normal(5, 1, std=0.0)),
        Case("D is sure of them", logits_fake=normal(5, 1, mean=-60.0)),
        Case("D is fooled", logits_fake=normal(5, 1, mean=30.0)),
    ],
    mutants={
        "returns a number": lambda f: float(_soft(-f).mean()),
        "cuts the gradient off": lambda f: _soft(-f.detach()).mean(),
        "by way of the probability": lambda f: -f.sigmoid().log().mean(),
        "one loss per image": lambda f: _soft(-f),
        "makes tensors without device": lambda f: _bce(f, torch.ones(f.shape)),
        "minus the logits": lambda f: -f.mean(),
        "first image only": lambda f: _soft(-f[:1]).mean(),
        "least squares": lambda f: ((f - 1) ** 2).mean() / 2,
    },
    solutions={
        "softplus by hand": lambda f: _soft(-f).mean(),
        "logaddexp and a sum": lambda f: torch.logaddexp(-f, torch.zeros_like(f)).sum() / f.numel(),
        "with a target of ones": lambda f: _bce_in_two_parts(f, torch.ones_like(f)),
    },
)


_SQUARED = "the difference is squared, so its sign does not matter"


def _scores(real, fake):
    return {"scores_real": real, "scores_fake": fake}


def _ls(r, f):
    return ((r - 1).square().mean() + f.square().mean()) / 2


def _ls_by_rows(r, f):
    total = 0.0
    for score in r:
        total = total + (score[0] - 1) ** 2 / (2 * len(r))
    for score in f:
        total = total + score[0] ** 2 / (2 * len(f))
    return total


ls_discriminator_loss = Hidden(
    cases=[
        Case("one image of each", **_scores(normal(1, 1), normal(1, 1))),
        Case("one real image, seven generated", **_scores(normal(1, 1), normal(7, 1))),
        Case("equal numbers", **_scores(normal(6, 1), normal(6, 1))),
        Case("non-contiguous", **_scores(normal(4, 1), normal(3, 1))).strided(),
        Case("float32", **_scores(normal(5, 1), normal(4, 1))).float32(),
        Case("scores of 10,000", **_scores(normal(5, 1, std=1e4), normal(4, 1, std=1e4))),
        Case("all scores one half", **_scores(given([[0.5]] * 4), given([[0.5]] * 3))),
        Case("targets reached", **_scores(given([[1.0]] * 4), given([[0.0]] * 3))),
    ],
    mutants={
        "returns a number": lambda r, f: float(_ls(r, f)),
        "cuts the generated images off": lambda r, f: _ls(r, f.detach()),
        "absolute values": lambda r, f: (r - 1).abs().mean() / 2 + f.abs().mean() / 2,
        "root of the mean": lambda r, f: (r - 1).square().mean().sqrt() / 2 + f.square().mean().sqrt() / 2,
        "ready-made": lambda r, f: functional.mse_loss(r, torch.ones_like(r)) / 2 + f.square().mean() / 2,
        "as many real as generated": lambda r, f: _ls(r[: len(f)], f[: len(r)]),
        "makes tensors without device": lambda r, f: _ls(r + torch.zeros(r.shape), f),
        "difference": lambda r, f: ((r - 1).square().mean() - f.square().mean()) / 2,
        "returns both parts": lambda r, f: ((r - 1).square().mean() / 2, f.square().mean() / 2),
        "caps the scores": lambda r, f: _ls(r.clamp(max=1), f.clamp(min=0)),
    },
    solutions={
        "squares": _ls,
        "row by row": _ls_by_rows,
        "norms": lambda r, f: (r - 1).flatten().dot((r - 1).flatten()) / (2 * len(r)) + (f.T @ f).sum() / (2 * len(f)),
    },
    equivalent={"ls_discriminator_loss: scores_real - 1 -> 1 - scores_real": _SQUARED},
)


def _ls_g(f):
    return (f - 1).square().mean() / 2


ls_generator_loss = Hidden(
    cases=[
        Case("one image", scores_fake=normal(1, 1)),
        Case("non-contiguous", scores_fake=normal(4, 1)).strided(),
        Case("float32", scores_fake=normal(6, 1, std=3.0)).float32(),
        Case("all scores one half", scores_fake=given([[0.5]] * 5)),
        Case("above the target", scores_fake=normal(5, 1, mean=4.0)),
        Case("target reached", scores_fake=given([[1.0]] * 3)),
    ],
    mutants={
        "returns a number": lambda f: float(_ls_g(f)),
        "cuts the gradient off": lambda f: _ls_g(f.detach()),
        "caps the scores": lambda f: _ls_g(f.clamp(max=1)),
        "absolute values": lambda f: (f - 1).abs().mean() / 2,
        "one loss per image": lambda f: (f - 1) ** 2 / 2,
        "target -1": lambda f: (f + 1).square().mean() / 2,
        "ready-made": lambda f: functional.mse_loss(f, torch.ones_like(f)) / 2,
        "makes tensors without device": lambda f: (f - torch.ones(f.shape)).square().mean() / 2,
    },
    solutions={
        "squares": _ls_g,
        "multiplied out": lambda f: (f * f).mean() / 2 - f.mean() + 0.5,
        "image by image": lambda f: sum((score[0] - 1) ** 2 for score in f) / (2 * len(f)),
    },
    equivalent={"ls_generator_loss: scores_fake - 1 -> 1 - scores_fake": _SQUARED},
)
