"""What the checks of modules share: weights for cases, layers as functions of weights, torch's own, and gradients."""

from __future__ import annotations

import math
import threading
from functools import wraps

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from dlcvkit.checking import Finding, Interrupted, Kind, normal
from dlcvkit.checking.values import kind_of

READY_MADE_ATTENTION = frozenset(
    """scaled_dot_product_attention _scaled_dot_product_attention_math _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_fused_attention_overrideable multi_head_attention_forward _native_multi_head_attention
    native_multi_head_attention _transformer_encoder_layer_fwd _transformer_encoder_layer flex_attention""".split()
)
"""Attention as torch has it ready; nn.MultiheadAttention and nn.Transformer end in these."""

NO_EFFECT = "key.bias"
"""It adds the same number to all scores of a query, so its gradient is rounding and nothing else."""


def linear_weights(name, outputs, inputs):
    """Describe the weights of an affine layer under its name."""
    return {f"{name}.weight": normal(outputs, inputs, std=inputs**-0.5), f"{name}.bias": normal(outputs, std=0.5)}


def norm_weights(name, D):
    """Describe the weights of a layer norm under its name."""
    return {f"{name}.weight": normal(D, mean=1.0, std=0.4), f"{name}.bias": normal(D, std=0.4)}


def attention_params(name, D):
    """Describe the weights of multi-head attention; ``name`` is empty or ends in a dot."""
    layers = (linear_weights(f"{name}{part}", D, D) for part in ("query", "key", "value", "output"))
    return {key: value for layer in layers for key, value in layer.items()}


def feed_forward_params(name, D, hidden):
    """Describe the weights of the feed-forward net; ``name`` is empty or ends in a dot."""
    return linear_weights(f"{name}fc1", hidden, D) | linear_weights(f"{name}fc2", D, hidden)


def under(weights, name):
    """Return the entries whose names begin with ``name`` and a dot, without it."""
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}


def linear(x, weights, name):
    """Return the affine layer of that name."""
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x, weights, name, fault=""):
    """Return the layer norm of that name."""
    if fault == f"without {name}":
        return x
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


class SafeAttention(nn.MultiheadAttention):
    """torch's multi-head attention, with zeros in place of NaN where nothing may be attended to."""

    def forward(self, query, key, value, attn_mask=None, **others):
        blocked = attn_mask
        if blocked is None:
            return super().forward(query, key, value, average_attn_weights=False)
        if blocked.is_floating_point():  # the encoder layer makes numbers of truth values
            blocked = blocked == -math.inf
        is_dead = blocked.all(dim=-1)  # (N * heads, S)
        blocked = blocked & ~is_dead[..., None]
        out, shares = super().forward(query, key, value, attn_mask=blocked, average_attn_weights=False)
        is_dead = is_dead.reshape(shares.shape[:3])
        out = torch.where(is_dead[:, 0, :, None], self.out_proj.bias, out)
        return out, shares.masked_fill(is_dead[..., None], 0.0)


def as_torch(weights, *, prefix=""):
    """Return the weights of our attention under torch's names, query, key and value in one."""
    stacked = {
        f"{prefix}in_proj_{part}": torch.cat([weights[f"{name}.{part}"] for name in ("query", "key", "value")])
        for part in ("weight", "bias")
    }
    return stacked | {f"{prefix}out_proj.{part}": weights[f"output.{part}"] for part in ("weight", "bias")}


def torch_mask(mask, N, heads, S, T):
    """Return a mask in torch's sense: True is blocked, one per image and head."""
    return None if mask is None else ~mask.expand(N, heads, S, T).flatten(0, 1)


def kept_by_each_thread(make):
    """Keep what ``make`` returns for some sizes, for each thread by itself.

    ``functional_call`` puts weights into a layer while it runs, and the judge compares several submissions at once.
    """
    own = threading.local()

    @wraps(make)
    def find(*sizes):
        layers = own.__dict__
        if str(sizes) not in layers:
            layers[str(sizes)] = make(*sizes)
        return layers[str(sizes)]

    return find


@kept_by_each_thread
def hollow_attention(D, heads):
    """Return torch's multi-head attention without numbers, to be called with ours; drawing some would take time."""
    return SafeAttention(D, heads, batch_first=True, device="meta")


def attention_by_torch(x, context, mask, weights, heads):
    """Return output and weights of ``nn.MultiheadAttention`` with our weights."""
    N, S, D = x.shape
    layer = hollow_attention(D, heads)
    blocked = torch_mask(mask, N, heads, S, context.shape[1])
    return functional_call(layer, as_torch(weights), (x, context, context), {"attn_mask": blocked})


def upstream(out):
    """Return a gradient for ``out`` that is different everywhere."""
    return torch.linspace(-1, 2, out.numel(), dtype=out.dtype, device=out.device).reshape(out.shape)


def gradients_of(forward, arguments, weights):
    """Return the gradients of ``(forward(**arguments) * upstream).sum()``, floating arguments and weights by name.

    Raises:
        Interrupted: If the output is cut off from its graph.
    """
    variables = {
        name: value.detach().clone().requires_grad_()
        for name, value in arguments.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    with torch.enable_grad():
        # not the leaves themselves, which must not be changed in place
        out = forward(**{**arguments, **{name: value * 1 for name, value in variables.items()}})
        if not isinstance(out, torch.Tensor) or not out.requires_grad:
            is_cut = isinstance(out, torch.Tensor)
            got = "cut off from the graph" if is_cut else "None" if out is None else f"a {kind_of(out)}"
            raise Interrupted(Finding(Kind.STRUCTURE, f"the output is {got}; expected a tensor to go back from"))
        like = {**variables, **weights}
        found = torch.autograd.grad(out, list(like.values()), upstream(out), allow_unused=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(like.items(), found, strict=True)
        if not name.endswith(NO_EFFECT)
    }


def gradients_or_stop(net, arguments, values):
    """Return the gradients of a module.

    Raises:
        Interrupted: If there are none; it holds the values that come before them.
    """
    try:
        return gradients_of(net, arguments, dict(net.named_parameters()))
    except Exception as error:
        cause = error.cause if isinstance(error, Interrupted) else error
        raise Interrupted(cause, (*values, None), ["gradients"]) from None


def reference_gradients(forward, arguments, params):
    """Return the gradients of ``forward(**arguments, weights=...)``, for references."""
    trained = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
    return gradients_of(lambda **given: forward(**given, weights=trained), arguments, trained)


def use_module(net, **arguments):
    """Return the output and the gradients of a module."""
    out = net(**arguments)
    return out, gradients_or_stop(net, arguments, (out,))


def plain_answers(forward):
    """Return a reference that has an output and gradients, from ``forward(init, weights=..., **arguments)``."""

    def reference(init, params, **arguments):
        out = forward(init, weights=params, **arguments)
        return out, reference_gradients(lambda **given: forward(init, **given), arguments, params)

    return reference
