"""Cutout and mixup: what holds of every right draw, recovered from the images that come out."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Invariant, drawn, normal
from dlcvkit.exercises.a2.fully_connected_nets.statistics import SIGMAS, find_mismatch, is_near


def one_hot(count, classes):
    """Describe one-hot rows, shape (count, classes), of random labels."""
    return drawn(lambda g: functional.one_hot(torch.randint(classes, (count,), generator=g), classes).double())


def _cut(cutout, x, size, seed):
    def generator(number):
        return torch.Generator(device=x.device).manual_seed(number)

    source = generator(seed)
    return {
        "draws": [cutout(x, size, source) for _ in range(60)],
        "again": cutout(x, size, generator(seed)),
        "other": cutout(x, size, generator(seed + 1)),
    }


def _possible_squares(H, W, size):
    """Return the mask of the square around every pixel, shape (H * W, H, W), bool."""
    rows, columns = torch.arange(H), torch.arange(W)
    down = (rows >= rows[:, None] - size // 2) & (rows < rows[:, None] - size // 2 + size)  # (H centres, H)
    across = (columns >= columns[:, None] - size // 2) & (columns < columns[:, None] - size // 2 + size)
    return (down[:, None, :, None] & across[None, :, None, :]).flatten(0, 1)


def _holes(draws, x):
    """Return where images are 0, shape (draws, N, C, H, W)."""
    return torch.stack(draws) == 0


def _cuts_a_square(result, x, size, seed):
    for out in result["draws"]:
        problem = find_mismatch("the result", out, x)
        if problem is not None:
            return problem
    holes = _holes(result["draws"], x)
    changed = (torch.stack(result["draws"]) != x) & ~holes
    if bool(changed.any()):
        return "pixels outside of the square are changed; expected them as they were"
    if not bool(holes.any()):
        return "nothing is cut out"
    if not torch.equal(holes, holes[:, :, :1].expand_as(holes)):
        return "the channels of an image are cut in different places; expected one square for all"
    squares = _possible_squares(*x.shape[2:], size).to(x.device).flatten(1).float()
    found = holes[:, :, 0].flatten(2).flatten(0, 1).float()  # (draws * N, H * W)
    is_possible = (torch.cdist(found, squares, p=1).amin(1) < 0.5).tolist()
    if all(is_possible):
        return None
    hole = found[is_possible.index(False)].reshape(x.shape[2:]).bool()
    sides = f"{int(hole.any(1).sum())} rows and {int(hole.any(0).sum())} columns"
    return f"the hole in an image touches {sides}; that is no square of side {size} around a pixel of the image"


def _cuts_anywhere(result, x, size, seed):
    holes = _holes(result["draws"], x)[:, :, 0]
    if len(x) > 1 and 2 * size <= min(x.shape[2:]) and torch.equal(holes, holes[:, :1].expand_as(holes)):
        return "all images of a batch are cut in the same place; expected a place of its own for each"
    squares = _possible_squares(*x.shape[2:], size).to(x.device)
    expected = squares.double().mean(0)
    share = holes.double().mean((0, 1))
    count = holes.shape[0] * holes.shape[1]
    slack = SIGMAS * (expected * (1 - expected) / count).sqrt() + 1e-9
    off = (share - expected).abs() > slack
    if not bool(off.any()):
        return None
    row, column = off.nonzero()[0].tolist()
    return (
        f"pixel ({row}, {column}) is cut out in {share[row, column]:.0%} of {count} images; expected "
        f"{expected[row, column]:.0%} if every pixel is as likely to be the centre"
    )


def _cut_by_generator(result, x, size, seed):
    first = result["draws"][0]
    if not torch.equal(first, result["again"]):
        return "generators with equal seeds cut in different places; expected the same ones"
    if size >= 2 * max(x.shape[2:]):
        return None
    everything = [*result["draws"], result["other"]]
    if all(torch.equal(first, out) for out in everything):
        return "every call cuts in the same place; expected new places"
    if len(x) > 3 and torch.equal(first, result["other"]):
        return "generators with different seeds cut in the same places; expected other ones"
    return None


cutout = Invariant(
    functions=("cutout",),
    cases=[
        Case("squares of 3", x=normal(6, 3, 7, 9), size=3, seed=1),
        Case("squares of 4", x=normal(5, 2, 8, 6), size=4, seed=2),
    ],
    properties={"square": _cuts_a_square, "places": _cuts_anywhere, "generator": _cut_by_generator},
    points={"square": 2, "places": 1, "generator": 1},
    hints={
        "square": "which rows are within the square, which columns, and what is beyond the border?",
        "places": "one centre per image, any pixel of the image, borders included",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
    },
    call=_cut,
)


def _mix(mixup, x, y_onehot, alpha, seed):
    def run(number, count):
        generator = torch.Generator(device=x.device).manual_seed(number)
        return [mixup(x, y_onehot, alpha, generator) for _ in range(count)]

    return {"draws": run(seed, 120), "again": run(seed, 1), "other": run(seed + 1, 1)}


def _draws(result, x, y_onehot):
    """Return all draws as two tensors, x_mixed (draws, N, ...) and y_mixed (draws, N, K); a text if that fails."""
    for draw in result["draws"]:
        if not isinstance(draw, list | tuple) or len(draw) != 2:
            got = "None" if draw is None else f"a {type(draw).__name__}"
            return f"mixup returned {got}; expected the pair x_mixed, y_mixed"
        problem = find_mismatch("x_mixed", draw[0], x) or find_mismatch("y_mixed", draw[1], y_onehot)
        if problem is not None:
            return problem
    return [torch.stack(parts) for parts in zip(*result["draws"], strict=True)]


def _recover(mixed, rows):
    """Return for each mixed row its partner, its own weight, and how far it is from such a mixture.

    Args:
        mixed: Shape (draws, N, ...).
        rows: What was mixed, shape (N, ...).

    Returns:
        Partner, weight and distance, shape (draws, N) each. One not changed is its own partner, with weight 1.
    """
    mixed, rows = mixed.flatten(2).double(), rows.flatten(1).double()
    apart = rows[:, None] - rows  # (N, N, D)
    towards = mixed[:, :, None] - rows  # (draws, N, N, D)
    weight = (towards * apart).sum(3) / apart.square().sum(2).clamp(min=1e-30)
    distance = (towards - weight[..., None] * apart).abs().amax(3)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    own = (mixed - rows).abs().amax(2)
    partner = distance.argmin(2)
    is_own = own <= 1e-6 * rows.abs().max()
    index = torch.arange(len(rows), device=rows.device).expand_as(partner)
    weight = weight.gather(2, partner[..., None])[..., 0].masked_fill(is_own, 1.0)
    distance = torch.where(is_own, own, distance.gather(2, partner[..., None])[..., 0])
    return torch.where(is_own, index, partner), weight, distance


def _mixes_pairs(result, x, y_onehot, alpha, seed):
    draws = _draws(result, x, y_onehot)
    if isinstance(draws, str):
        return draws
    partner, weight, distance = _recover(draws[0], x)
    if bool((distance > 1e-4 * x.abs().max()).any()):
        return "an image is no mixture of itself and another one, with weights that add up to 1"
    if bool((weight < -1e-4).any()) or bool((weight > 1 + 1e-4).any()):
        return "a weight lies outside of 0 to 1"
    # Where hardly anything is mixed in, rounding hides whose image it was.
    for each in partner[((weight - 0.5).abs() < 0.49).all(1)]:
        if len(each.unique()) < len(each):
            return f"{len(each)} images have {len(each.unique())} partners; expected a permutation of the batch"
    if len(x) > 2 and bool((partner == partner[0]).all()):
        return "an image has the same partner in every call; expected a new permutation each time"
    return None


def _mixes_labels_alike(result, x, y_onehot, alpha, seed):
    draws = _draws(result, x, y_onehot)
    if isinstance(draws, str):
        return draws
    if not is_near(draws[1].sum(2), torch.ones_like(draws[1][..., 0])):
        return "a row of y_mixed does not add up to 1"
    rows = torch.cat([x.flatten(1), y_onehot], dim=1)
    _, _, distance = _recover(torch.cat([draws[0].flatten(2), draws[1]], dim=2), rows)
    if bool((distance > 1e-4 * rows.abs().max()).any()):
        return "labels are not mixed as the images are: with the same partner and the same weights"
    return None


def _draws_from_beta(result, x, y_onehot, alpha, seed):
    draws = _draws(result, x, y_onehot)
    if isinstance(draws, str) or len(x) == 1:
        return draws if isinstance(draws, str) else None
    partner, weight, distance = _recover(draws[0], x)
    is_other = partner != torch.arange(len(x), device=x.device)
    is_told = is_other.any(1) & (distance <= 1e-4 * x.abs().max()).all(1)
    highest = weight.masked_fill(~is_other, -torch.inf).amax(1)
    lowest = weight.masked_fill(~is_other, torch.inf).amin(1)
    if bool((highest - lowest > 1e-3)[is_told].any()):
        return "the images of one batch are mixed with different weights; expected one lambda for the batch"
    return _beta_problem(highest[is_told].cpu(), alpha)


def _beta_problem(lam, alpha):
    if len(lam) < 30:
        return "images are hardly ever mixed with others"
    variance = 1 / (4 * (2 * alpha + 1))
    kurtosis = 3 - 6 / (2 * alpha + 3)
    if abs(float(lam.mean()) - 0.5) > SIGMAS * math.sqrt(variance / len(lam)):
        return f"lambda is {float(lam.mean()):.2f} on average over {len(lam)} calls; expected 0.5"
    ratio = float(lam.var()) / variance
    if abs(ratio - 1) > SIGMAS * math.sqrt((kurtosis - 1) / len(lam)) + 2 / len(lam):
        return f"lambda has variance {float(lam.var()):.3f} over {len(lam)} calls; expected {variance:.3f}, Beta's"
    return None


def _mix_by_generator(result, x, y_onehot, alpha, seed):
    draws = _draws(result, x, y_onehot)
    if isinstance(draws, str):
        return draws

    def images(name):
        return result[name][0][0]

    if not torch.equal(images("draws"), images("again")):
        return "generators with equal seeds mix differently; expected the same mixture"
    if len(x) > 1 and torch.equal(images("draws"), images("other")):
        return "generators with different seeds give the same mixture; expected another one"
    if len(x) > 1 and bool((draws[0] == draws[0][0]).all()):
        return "every call gives the same mixture; expected a new one each time"
    return None


mixup = Invariant(
    functions=("mixup",),
    cases=[
        Case("rows, alpha = 1", x=normal(6, 5), y_onehot=one_hot(6, 4), alpha=1.0, seed=1),
        Case("images, alpha = 0.4", x=normal(5, 3, 2, 4), y_onehot=one_hot(5, 3), alpha=0.4, seed=2),
    ],
    properties={
        "images": _mixes_pairs,
        "labels": _mixes_labels_alike,
        "lambda": _draws_from_beta,
        "generator": _mix_by_generator,
    },
    points={"images": 2, "labels": 1, "lambda": 1, "generator": 1},
    hints={
        "images": "one permutation of the batch says who is mixed with whom; weights are lambda and 1 - lambda",
        "labels": "what is done to the images is done to the labels",
        "lambda": "one number per batch, from draw_beta; it may be above or below 1/2",
        "generator": "hand the generator on to whatever draws, and make no generator of your own",
    },
    call=_mix,
)
