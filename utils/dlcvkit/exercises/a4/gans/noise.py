"""Random inputs: many results are right, so what holds of every right one is checked."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Finding, Interrupted, Invariant, Kind, given, normal


def kind_text(value):
    return "None" if value is None else f"a {type(value).__name__}"


def _wrong_tensor(got, shape, dtype):
    """Return what is wrong with the shape or dtype of a result, or None."""
    if not isinstance(got, torch.Tensor):
        return f"returned {kind_text(got)}; expected a tensor of shape {shape}"
    if tuple(got.shape) != shape:
        return f"has shape {tuple(got.shape)}; expected {shape}"
    if got.dtype != dtype:
        return f"has dtype {got.dtype}; expected {dtype}"
    return None


def _moments(numbers):
    """Mean, variance and fourth moment of all entries, as floats."""
    flat = numbers.double().flatten()
    mean = flat.mean()
    centred = flat - mean
    return float(mean), float(centred.square().mean()), float(centred.pow(4).mean())


def _follows(result, what):
    if not torch.equal(result["first"], result["again"]):
        return f"generators with equal seeds give different {what}; expected the same"
    if result["first"].numel() and torch.equal(result["first"], result["other"]):
        return f"generators with different seeds give the same {what}; expected other ones"
    if result["first"].numel() and torch.equal(result["first"], result["next"]):
        return f"two calls in a row give the same {what}; expected new ones at every call"
    return None


# Noise for the generator net.


def _record_noise(sample_noise, count, dim, seed):
    def draw(number):
        return sample_noise(count, dim, torch.Generator().manual_seed(number))

    source = torch.Generator().manual_seed(seed)
    result = {"first": sample_noise(count, dim, source), "next": sample_noise(count, dim, source)}
    result |= {"again": draw(seed), "other": draw(seed + 1)}
    result["many"] = sample_noise(200, 60, torch.Generator().manual_seed(seed + 2))
    before = torch.get_rng_state()
    result["by default"] = [sample_noise(count, dim), sample_noise(count, dim)]
    result["moved"] = not torch.equal(before, torch.get_rng_state())
    # Whatever is made without device= ends up on another one here.
    with torch.device("meta"):
        try:
            result["elsewhere"] = str(sample_noise(2, 3, torch.Generator().manual_seed(seed), device="cpu").device)
        except (RuntimeError, NotImplementedError):
            result["elsewhere"] = "none"
    return result


def _has_shape(result, count, dim, seed):
    for noise in (result["first"], *result["by default"]):
        problem = _wrong_tensor(noise, (count, dim), torch.float32)
        if problem is not None:
            return problem
    return None if result["elsewhere"] == "cpu" else "was not made on the device that was passed in"


def _is_uniform(result, count, dim, seed):
    problem = _wrong_tensor(result["many"], (200, 60), torch.float32)
    if problem is not None:
        return problem
    for noise in (result["many"], result["first"]):
        low, high = (float(noise.min()), float(noise.max())) if noise.numel() else (0.0, 0.0)
        if low < -1 or high >= 1:
            return f"has entries from {low:.3g} to {high:.3g}; expected all of them in [-1, 1)"
    numbers = result["many"]
    mean, variance, fourth = _moments(numbers)
    if float(numbers.min()) > -0.99 or float(numbers.max()) < 0.99:
        return f"goes from {float(numbers.min()):.2f} to {float(numbers.max()):.2f} only; expected all of [-1, 1)"
    # Six standard errors for 12,000 numbers.
    if abs(mean) > 0.032:
        return f"has the mean {mean:.3g} over many draws; expected about 0"
    if abs(variance - 1 / 3) > 0.017 or abs(fourth - 1 / 5) > 0.015:
        return f"has the variance {variance:.3g} over many draws and is not spread evenly; expected 1/3, evenly"
    rows, columns = numbers.double().mean(1), numbers.double().mean(0)
    if len(numbers.unique()) < 0.99 * numbers.numel() or max(rows.abs().max(), columns.abs().max()) > 0.5:
        return "repeats numbers; expected each entry to be drawn by itself"
    return None


def _follows_noise_generator(result, count, dim, seed):
    found = _follows(result, "noise")
    if found is None and count * dim and (torch.equal(*result["by default"]) or not result["moved"]):
        return "without a generator does not draw from torch's own; expected new numbers at every call"
    return found


sample_noise = Invariant(
    functions=("sample_noise",),
    cases=[
        Case("40 vectors of 96", count=40, dim=96, seed=1),
        Case("3 vectors of 7", count=3, dim=7, seed=2),
    ],
    properties={"shape": _has_shape, "values": _is_uniform, "generator": _follows_noise_generator},
    points={"shape": 1, "values": 1, "generator": 1},
    hints={
        "shape": "one row per vector, float32; pass device= to what draws",
        "values": "torch.rand is uniform in [0, 1): which straight line takes that to [-1, 1)?",
        "generator": "pass generator= to what draws, and make no generator of your own",
    },
    call=_record_noise,
    uses_global_random_state=True,
)


# A code drawn so that gradients pass.

_REPEATS = 3000


def _record_code(reparametrize, mu, logvar, seed):
    def source(number):
        return torch.Generator(device=mu.device).manual_seed(number)

    one = source(seed)
    result = {
        "first": reparametrize(mu, logvar, one),
        "next": reparametrize(mu, logvar, one),
        "again": reparametrize(mu, logvar, source(seed)),
        "other": reparametrize(mu, logvar, source(seed + 1)),
    }
    wide = [tensor[:1].repeat(_REPEATS, 1) for tensor in (mu, logvar)]
    result["many"] = reparametrize(*wide, source(seed + 2))
    result["like"] = reparametrize(torch.zeros_like(mu), torch.zeros_like(logvar), source(seed))
    mean, spread = (tensor.detach().requires_grad_() for tensor in (mu, logvar))
    with torch.enable_grad():
        z = reparametrize(mean, spread, source(seed))
        if not isinstance(z, torch.Tensor) or not z.requires_grad:
            text = "is cut off from mu and logvar, so that autograd finds no gradient"
            result = {name: _detached(value) for name, value in result.items()}
            raise Interrupted(Finding(Kind.STRUCTURE, text), result, ["gradients"])
        slopes = torch.autograd.grad(z.sum(), [mean, spread], allow_unused=True)
    result |= {"z": z, "dmu": slopes[0], "dlogvar": slopes[1]}
    return {name: _detached(value) for name, value in result.items()}


def _detached(value):
    return value.detach() if isinstance(value, torch.Tensor) else value


def _is_normal(result, mu, logvar, seed):
    for name, shape in (("first", tuple(mu.shape)), ("many", (_REPEATS, mu.shape[1]))):
        problem = _wrong_tensor(result[name], shape, mu.dtype)
        if problem is not None:
            return problem
        if not bool(result[name].isfinite().all()):
            return "has entries that are not finite"
    noise = result["many"].double() - mu[:1].double()
    told = logvar[0].double().cpu()
    mean, variance = noise.mean(0).cpu(), noise.var(0).cpu()
    # Six standard errors for _REPEATS numbers.
    if bool(((variance / told.exp()).log().abs() > 6 * (2 / _REPEATS) ** 0.5).any()):
        worst = int((variance / told.exp()).log().abs().argmax())
        for power, what in ((2.0, "exp(logvar) is taken as the standard deviation"), (0.0, "logvar is not used")):
            if bool(((variance.log() - power * told).abs() < 0.3).all()):
                return f"has the wrong spread around mu: {what}"
        got, want = float(variance[worst]), float(told[worst].exp())
        return f"has the variance {got:.3g} around mu in entry {worst}; expected exp(logvar), which is {want:.3g}"
    standard = noise.cpu() / (told / 2).exp()
    if bool((mean.abs() > 6 * (told / 2).exp() / _REPEATS**0.5).any()):
        return "is not centred: over many draws its mean differs from mu"
    # Entries may differ in nothing but mu and logvar: noise of one and the same shape for all.
    if abs(_moments(standard)[2] - 3) > 6 * (96 / standard.numel()) ** 0.5 + 0.05:
        return "is spread around mu, but not normally"
    return _dependence(standard)


def _dependence(standard):
    if len(standard[:, 0].unique()) < 0.99 * len(standard):
        return "adds the same noise to all images; expected noise of its own for each"
    if standard.shape[1] > 1:
        together = float((standard[:, 0] * standard[:, 1]).mean())
        if abs(together) > 6 / _REPEATS**0.5:
            return "adds the same noise to all entries of a code; expected noise of its own for each"
    return None


def _follows_code_generator(result, mu, logvar, seed):
    return _follows(result, "codes")


def _passes_gradients(result, mu, logvar, seed):
    dmu, dlogvar = result["dmu"], result["dlogvar"]
    if dmu is None or dlogvar is None:
        return f"does not depend on {'mu' if dmu is None else 'logvar'} as autograd sees it"
    if not bool(torch.isclose(dmu, torch.ones_like(mu), rtol=1e-4, atol=1e-4).all()):
        return f"has the slope {float(dmu.flatten()[0]):.4g} with respect to mu; expected 1"
    wanted = (result["z"] - mu) / 2
    scale = float(wanted.abs().max()) + 1e-12
    if bool(((dlogvar - wanted).abs() > 1e-3 * scale).any()):
        return "has another slope with respect to logvar than half of what was added to mu"
    return None


reparametrize = Invariant(
    functions=("reparametrize",),
    cases=[
        Case("5 codes of 4 entries", mu=normal(5, 4), logvar=normal(5, 4), seed=1),
        Case(
            "a wide and a narrow entry",
            mu=given([[3.0, -2.0, 0.5], [1.0, 0.0, -1.0]]),
            logvar=given([[4.0, -3.0, 1.0], [0.5, 2.0, -2.0]]),
            seed=2,
        ),
    ],
    properties={"codes": _is_normal, "generator": _follows_code_generator, "gradients": _passes_gradients},
    points={"codes": 2, "generator": 1, "gradients": 1},
    hints={
        "codes": "mean mu and variance exp(logvar): what is then the standard deviation that the noise is scaled by?",
        "generator": "pass generator= to what draws, and make no generator of your own",
        "gradients": "draw noise that depends on nothing; mu and logvar then shift and scale it",
    },
    call=_record_code,
)
