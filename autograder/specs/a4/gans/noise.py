"""Noise, and codes drawn so that gradients pass."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, normal

_MIRRORED = "uniform in (-1, 1]: another result only where torch.rand gives exactly 0, once in 16 million numbers"


def _noise(count, dim, generator=None, device="cpu", *, fault=""):
    if fault == "no device":
        device = None
    if fault == "no generator":
        generator = None
    if fault == "generator of its own":
        generator = torch.Generator().manual_seed(0)
    if fault == "a seed where there is no generator":
        generator = generator or torch.Generator().manual_seed(0)
    shape = (dim, count) if fault == "transposed" else (count, dim)
    u = torch.rand(*shape, generator=generator, device=device)
    if fault == "from 0 to 1":
        return u
    if fault == "from -0.5 to 0.5":
        return u - 0.5
    if fault == "from -2 to 2":
        return 4 * u - 2
    if fault == "from -1 to 0":
        return u - 1
    if fault == "plus or minus 1":
        return 2 * u.round() - 1
    if fault == "one row for all":
        return (2 * u[:1] - 1).repeat(count, 1)
    if fault == "one column for all":
        return (2 * u[:, :1] - 1).repeat(1, dim)
    if fault == "float64":
        return 2 * u.double() - 1
    if fault == "cubed":
        return (2 * u - 1) ** 3
    if fault == "flat":
        return (2 * u - 1).flatten()
    if fault == "rounded":
        return (2 * u - 1).mul(10).round().div(10)
    return 2 * u - 1


def _noise_with(fault):
    return lambda *arguments, **options: _noise(*arguments, **options, fault=fault)


def _normal_noise(count, dim, generator=None, device="cpu"):
    return torch.randn(count, dim, generator=generator, device=device).clamp(-1, 0.99)


def _normal_of_that_size(count, dim, generator=None, device="cpu"):
    return torch.randn(count, dim, generator=generator, device=device) / 3**0.5


sample_noise = Hidden(
    cases=[
        Case("one number", count=1, dim=1, seed=3),
        Case("one vector", count=1, dim=30, seed=4),
        Case("vectors of 1", count=25, dim=1, seed=5),
        Case("as many as entries", count=12, dim=12, seed=6),
        Case("500 vectors", count=500, dim=100, seed=7),
        Case("no vectors", count=0, dim=4, seed=8),
    ],
    mutants={
        **{
            fault: _noise_with(fault)
            for fault in (
                "no device",
                "no generator",
                "generator of its own",
                "a seed where there is no generator",
                "transposed",
                "from 0 to 1",
                "from -0.5 to 0.5",
                "from -2 to 2",
                "from -1 to 0",
                "plus or minus 1",
                "one row for all",
                "one column for all",
                "float64",
                "cubed",
                "flat",
                "rounded",
            )
        },
        "normal": _normal_noise,
        "normal with the same variance": _normal_of_that_size,
    },
    solutions={
        "filled in place": lambda count, dim, generator=None, device="cpu": torch.empty(
            count, dim, device=device
        ).uniform_(-1, 1, generator=generator),
        "mirrored, by rows": lambda count, dim, generator=None, device="cpu": (
            torch.stack([1 - 2 * (1 - torch.rand(dim, generator=generator, device=device)) for _ in range(count)])
            if count
            else torch.empty(0, dim, device=device)
        ),
    },
    equivalent={
        "sample_noise: return 2 * torch.rand(count, dim, generator=generator, device=device) - 1 -> "
        "return -(2 * torch.rand(count, dim, generator=generator, device=device) - 1)": _MIRRORED,
        "sample_noise: 2 * torch.rand(count, dim, generator=generator, device=device) - 1 -> "
        "1 - 2 * torch.rand(count, dim, generator=generator, device=device)": _MIRRORED,
    },
)


def _code(mu, logvar, generator=None, *, fault=""):
    if fault == "no generator":
        generator = None
    if fault == "generator of its own":
        generator = torch.Generator(device=mu.device).manual_seed(0)
    draws = {"generator": generator, "dtype": mu.dtype, "device": mu.device}
    noise = torch.randn(mu.shape, **draws)
    if fault == "uniform":
        noise = (torch.rand(mu.shape, **draws) - 0.5) * 12**0.5
    if fault == "from 0 to 1":
        noise = torch.rand(mu.shape, **draws)
    if fault == "no noise":
        noise = torch.zeros_like(mu)
    if fault == "one draw for all images":
        noise = torch.randn(mu.shape[1], **draws).expand_as(mu)
    if fault == "one draw for all entries":
        noise = torch.randn(len(mu), 1, **draws).expand_as(mu)
    if fault == "homeless":
        noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
    std = (logvar / 2).exp()
    if fault == "variance as deviation":
        std = logvar.exp()
    if fault == "logvar as deviation":
        std = logvar
    if fault == "deviation 1":
        std = torch.ones_like(mu)
    if fault == "deviation cut off":
        std = std.detach()
    if fault == "all cut off":
        mu, std = mu.detach(), std.detach()
    if fault == "mean left out":
        return std * noise
    if fault == "mean scaled as well":
        return (mu + noise) * std
    if fault == "float32":
        return (mu + std * noise).float().double()
    return mu + std * noise


def _code_with(fault):
    return lambda *arguments, **options: _code(*arguments, **options, fault=fault)


def _by_row(mu, logvar, generator=None):
    rows = []
    for mean, spread in zip(mu, logvar, strict=True):
        noise = torch.empty_like(mean).normal_(generator=generator)
        rows.append(torch.addcmul(mean, spread.exp().sqrt(), noise))
    return torch.stack(rows)


def _mirrored(mu, logvar, generator=None):
    noise = torch.empty(tuple(reversed(mu.shape)), dtype=mu.dtype, device=mu.device)
    return mu - noise.normal_(generator=generator).T * torch.exp(logvar).pow(0.5)


reparametrize = Hidden(
    cases=[
        Case("one code", mu=normal(1, 3), logvar=normal(1, 3), seed=3),
        Case("codes of 1", mu=normal(6, 1), logvar=normal(6, 1), seed=4),
        Case("non-contiguous", mu=normal(4, 3), logvar=normal(4, 3), seed=5).strided(),
        Case("float32", mu=normal(4, 3), logvar=normal(4, 3), seed=6).float32(),
        Case("far from 0", mu=normal(3, 2, mean=50.0), logvar=normal(3, 2), seed=7),
        Case("very narrow", mu=normal(3, 2), logvar=normal(3, 2, mean=-12.0), seed=8),
        Case("very wide", mu=normal(3, 2), logvar=normal(3, 2, mean=15.0), seed=9),
        Case("standard normal", mu=normal(3, 5, std=0.0), logvar=normal(3, 5, std=0.0), seed=10),
    ],
    mutants={
        fault: _code_with(fault)
        for fault in (
            "no generator",
            "generator of its own",
            "uniform",
            "from 0 to 1",
            "no noise",
            "one draw for all images",
            "one draw for all entries",
            "homeless",
            "variance as deviation",
            "logvar as deviation",
            "deviation 1",
            "deviation cut off",
            "all cut off",
            "mean left out",
            "mean scaled as well",
        )
    },
    solutions={
        "row by row": _by_row,
        "minus transposed noise": _mirrored,
    },
    equivalent={
        "reparametrize: torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device) -> "
        "torch.randn(mu.shape, generator=generator, device=mu.device)": "float32 noise takes the dtype of mu in the sum",
        "reparametrize: mu + (0.5 * logvar).exp() * noise -> mu - (0.5 * logvar).exp() * noise": (
            "noise and minus noise have the same distribution"
        ),
    },
)
