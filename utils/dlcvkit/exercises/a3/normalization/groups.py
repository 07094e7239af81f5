"""Norms that look at one image at a time: layer, group and instance."""

from __future__ import annotations

import inspect

import torch
from torch.nn import functional

from dlcvkit.checking import (
    AUTOGRAD,
    TORCH_LAYERS,
    Case,
    Finding,
    ForwardBackward,
    Interrupted,
    Kind,
    Mistake,
    messages,
    normal,
)
from dlcvkit.exercises.a3.normalization.variants import (
    changed,
    per_channel,
    right_quantities,
    shared_mistakes,
    whiten,
    with_affine,
)


def _affine_weights(gamma, beta, gamma_off, beta_off):
    return torch.ones_like(gamma) if gamma_off else gamma, torch.zeros_like(beta) if beta_off else beta


# Layer norm.


def _layer_norm(x, gamma, beta, eps=1e-5):
    return functional.layer_norm(x, gamma.shape, gamma, beta, eps)


def _spoilt_layer_norm(*, dims=(1,), gamma_off=False, beta_off=False, **mistakes):
    def layer(x, gamma, beta, eps=1e-5):
        return with_affine(whiten(x, dims, eps, **mistakes), *_affine_weights(gamma, beta, gamma_off, beta_off))

    return layer


def gamma_outside(norm, dims_of):
    """dx of a norm with gamma taken out of the means, where it does not belong: it differs along their axes."""

    def dx(right, given):
        inputs = {name: value for name, value in given.items() if name != "dout"}
        ones = {"gamma": torch.ones_like(given["gamma"])}
        plain = right_quantities(norm, given["dout"], {**inputs, **ones})[1]["dx"]
        return plain * per_channel(given["gamma"], given["x"])

    return Mistake(
        "takes gamma out of the two means in dx",
        changed(norm, dx=dx),
        hint="gamma differs along the axis that is averaged over: multiply dout by it first, then take the means",
    )


def _row_case(name, count, features, mean=0.0, std=1.0, **options):
    return Case(
        name,
        x=normal(count, features, mean=mean, std=std),
        gamma=normal(features),
        beta=normal(features),
        **options,
        dout=normal(count, features),
    )


layernorm = ForwardBackward(
    functions=("layernorm_forward", "layernorm_backward"),
    reference=_layer_norm,
    cases=[
        _row_case("4×6", 4, 6, mean=2.0, std=3.0),
        _row_case("eps 0.5", 5, 3, eps=0.5),
        _row_case("one row", 1, 5),
    ],
    points={"out": 2, "dx": 2, "dgamma": 1, "dbeta": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "normalises the columns instead of the rows",
            _spoilt_layer_norm(dims=(0,)),
            hint="that is batch norm; here every row has a mean and a variance of its own",
        ),
        Mistake(
            "takes one mean and variance for the whole batch",
            _spoilt_layer_norm(dims=(0, 1)),
            hint="every row has a mean and a variance of its own",
        ),
        gamma_outside(_layer_norm, (1,)),
        *shared_mistakes(_spoilt_layer_norm, count_of=len),
        Mistake(
            "adds dgamma and dbeta up over the features",
            changed(
                _layer_norm,
                dgamma=lambda d, given: (given["dout"] * _layer_norm(given["x"], 0 * d + 1, 0 * d)).sum(1),
                dbeta=lambda d, given: given["dout"].sum(1),
            ),
            hint="gamma has one entry per feature and serves all rows: look at the axis that disappears",
        ),
    ],
)


# Group norm, with two of its special cases and what it has to refuse.

REFUSED = "a ValueError"


def _use_groupnorm(forward, backward, x, gamma, beta, G, refused, dout, eps=1e-5):
    """Return output, gradients, the output for one group and for a group per channel, and what a bad G leads to."""
    lost = ["dx", "dgamma", "dbeta"]

    def output(groups):
        result = forward(x, gamma, beta, groups, eps)
        if isinstance(result, list | tuple) and len(result) == 2:
            return result
        got = "None" if result is None else f"a {type(result).__name__}"
        text = messages.WRONG_TUPLE.format(name="spatial_groupnorm_forward", got=got, count=2, names="out and cache")
        raise Interrupted(Finding(Kind.STRUCTURE, text))

    out, cache = output(G)
    one, own = output(1)[0], output(x.shape[1])[0]
    try:
        forward(x, gamma, beta, refused, eps)
        refusal = "a result"
    except ValueError:
        refusal = REFUSED
    except Exception as error:
        name = type(error).__name__
        refusal = f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    values = out, one, own, refusal
    try:
        gradients = backward(dout, cache)
    except Exception as error:
        raise Interrupted(error, (*values, *[None] * 3), lost) from error
    if not isinstance(gradients, list | tuple) or len(gradients) != 3:
        got = "None" if gradients is None else f"a {type(gradients).__name__}"
        names = messages.listing(lost)
        text = messages.WRONG_TUPLE.format(name="spatial_groupnorm_backward", got=got, count=3, names=names)
        raise Interrupted(Finding(Kind.STRUCTURE, text), (*values, *[None] * 3), lost)
    return *values, *gradients


def _family(norm, refusal=REFUSED):
    """All quantities of the exercise for ``norm(x, gamma, beta, G, eps)``."""

    def layer(x, gamma, beta, G, refused, eps=1e-5):
        return (*(norm(x, gamma, beta, groups, eps) for groups in (G, 1, x.shape[1])), refusal)

    return layer


def _reference(x, gamma, beta, G, refused, eps=1e-5):
    plain = functional.layer_norm(x, x.shape[1:], eps=eps)
    # Not functional.group_norm and instance_norm: they refuse a group of one entry.
    own = torch.instance_norm(x, gamma, beta, None, None, True, 0.0, eps, False)
    return torch.group_norm(x, G, gamma, beta, eps), with_affine(plain, gamma, beta), own, REFUSED


def _group_norm(x, gamma, beta, G, eps=1e-5):
    return torch.group_norm(x, G, gamma, beta, eps)


def _spoilt_group_norm(
    *, dims=(2, 3, 4), gamma_off=False, beta_off=False, interleaved=False, size_for_count=False, **mistakes
):
    def norm(x, gamma, beta, G, eps=1e-5):
        count = x.shape[1] // G if size_for_count else G
        grouped = x.unflatten(1, (-1, count)).transpose(1, 2) if interleaved else x.unflatten(1, (count, -1))
        normed = whiten(grouped, dims, eps, **mistakes)
        normed = normed.transpose(1, 2) if interleaved else normed
        weights = _affine_weights(gamma, beta, gamma_off, beta_off)
        return with_affine(normed.flatten(1, 2), *weights)

    return norm


def _family_of(**mistakes):
    return _without_text(_family(_spoilt_group_norm(**mistakes)))


def _without_text(layer):
    """All quantities of a variant, its gradients by autograd; texts among the outputs have none."""

    def variant(dout, **inputs):
        *outs, refusal = layer(**inputs)
        _, gradients = right_quantities(lambda **given: layer(**given)[0], dout, inputs)
        return *outs, refusal, *gradients.values()

    return variant


def _with_gradients(variant):
    """A variant of group norm's gradients, beside the right outputs."""

    def run(dout, **inputs):
        rest = {name: value for name, value in inputs.items() if name != "refused"}
        return *_reference(**inputs), *variant(dout, **rest)[1:]

    return run


def _shared_of_groups():
    """The mistakes of every norm, each with all quantities of the exercise."""
    mistakes = []
    for found in shared_mistakes(_spoilt_group_norm, count_of=lambda x: x.numel() // x.shape[1]):
        is_backward = "dout" in inspect.signature(found.variant).parameters
        variant = _with_gradients(found.variant) if is_backward else _without_text(_family(found.variant))
        mistakes.append(Mistake(found.name, variant, hint=found.hint))
    return mistakes


def image_case(name, shape, mean=0.0, std=1.0, **options):
    """Inputs for images of ``shape``, with weights per channel."""
    return Case(
        name,
        x=normal(*shape, mean=mean, std=std),
        gamma=normal(shape[1]),
        beta=normal(shape[1]),
        **options,
        dout=normal(*shape),
    )


spatial_groupnorm = ForwardBackward(
    functions=("spatial_groupnorm_forward", "spatial_groupnorm_backward"),
    reference=_reference,
    call=_use_groupnorm,
    cases=[
        image_case("6 channels in 2 groups", (2, 6, 4, 3), mean=1.0, std=2.0, G=2, refused=4),
        image_case("4 channels in 2 groups of 2", (3, 4, 2, 3), mean=-1.0, G=2, refused=3),
        image_case("one image, eps 0.5", (1, 6, 1, 5), G=3, refused=5, eps=0.5),
    ],
    points={
        "out": 1,
        "as layer norm": 1,
        "as instance norm": 1,
        "refusal": 1,
        "dx": 2,
        "dgamma": 1,
        "dbeta": 1,
    },
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "puts every G-th channel into a group",
            _family_of(interleaved=True),
            hint="the channels of a group are neighbours: look at the order of the two axes that C is split into",
        ),
        Mistake(
            "takes G for the number of channels in a group",
            _family_of(size_for_count=True),
            hint="G counts the groups: how many channels are in each?",
        ),
        Mistake(
            "takes the statistics over the whole batch",
            _family_of(dims=(0, 2, 3, 4)),
            hint="images do not know of each other here: which axes disappear?",
        ),
        Mistake(
            "takes the statistics of the channels alone, pixel by pixel",
            _family_of(dims=(2,)),
            hint="all pixels of a group share a mean: which axes disappear?",
        ),
        Mistake(
            "takes the statistics of the pixels alone, channel by channel",
            _family_of(dims=(3, 4)),
            hint="all channels of a group share a mean: which axes disappear?",
        ),
        Mistake(
            "lets a G pass that does not divide C",
            lambda dout, **inputs: _unrefusing(dout, "a result", **inputs),
            hint="compare C and G before anything is reshaped; a reshape may fit by accident",
        ),
        Mistake(
            "leaves it to reshape to fail when G does not divide C",
            lambda dout, **inputs: _unrefusing(dout, "a RuntimeError", **inputs),
            hint="a ValueError is asked for: compare C and G before anything is reshaped",
        ),
        Mistake(
            "takes gamma out of the two means in dx",
            _with_gradients(gamma_outside(_group_norm, (1,)).variant),
            hint="gamma differs within a group: multiply dout by it first, then take the means",
        ),
        *_shared_of_groups(),
    ],
)


def _unrefusing(dout, refusal, **inputs):
    rest = {name: value for name, value in inputs.items() if name != "refused"}
    return *_reference(**inputs)[:3], refusal, *right_quantities(_group_norm, dout, rest)[1].values()


# Instance norm.


def _instance_norm(x, gamma, beta, eps=1e-5):
    return torch.instance_norm(x, gamma, beta, None, None, True, 0.0, eps, False)


def _spoilt_instance_norm(*, dims=(2, 3), gamma_off=False, beta_off=False, **mistakes):
    def layer(x, gamma, beta, eps=1e-5):
        return with_affine(whiten(x, dims, eps, **mistakes), *_affine_weights(gamma, beta, gamma_off, beta_off))

    return layer


instancenorm = ForwardBackward(
    functions=("instancenorm_forward", "instancenorm_backward"),
    reference=_instance_norm,
    cases=[
        image_case("2×3×4×5", (2, 3, 4, 5), mean=1.0, std=2.0),
        image_case("eps 0.5", (3, 2, 3, 1), eps=0.5),
        image_case("one image", (1, 4, 2, 3), mean=-2.0),
    ],
    points={"out": 1, "dx": 1, "dgamma": 1, "dbeta": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "takes the statistics over the whole batch",
            _spoilt_instance_norm(dims=(0, 2, 3)),
            hint="that is batch norm; here every image has statistics of its own",
        ),
        Mistake(
            "takes the statistics over all channels",
            _spoilt_instance_norm(dims=(1, 2, 3)),
            hint="that is layer norm; here every channel of an image has statistics of its own",
        ),
        Mistake(
            "takes the statistics of the channels, pixel by pixel",
            _spoilt_instance_norm(dims=(1,)),
            hint="the pixels of a channel share a mean: which axes disappear?",
        ),
        *shared_mistakes(_spoilt_instance_norm, count_of=lambda x: x.numel() // x.shape[1]),
        Mistake(
            "adds dgamma and dbeta up over the pixels alone",
            changed(
                _instance_norm,
                dgamma=lambda d, given: (given["dout"] * whiten(given["x"], (2, 3), given.get("eps", 1e-5))).sum(
                    (2, 3)
                ),
                dbeta=lambda d, given: given["dout"].sum((2, 3)),
            ),
            hint="gamma has one entry per channel and serves all images as well",
        ),
    ],
)
