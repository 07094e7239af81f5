# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The Transformer
#
# A recurrent net reads a sequence one step at a time and has to carry in one vector whatever it may need later. A
# Transformer does not carry anything. Every step **looks at all others, and decides for itself which ones matter**.
# That one operation, attention, is most of what stands behind today's language models, and vision has taken it over as
# well. In this notebook you will
#
# - write **attention** three times: with loops, as matrix products, and with its **backward pass** by hand;
# - find out what the $\sqrt D$ is for, by measuring, and what a **mask** means, down to the row in which nothing is
#   allowed;
# - build the parts (several heads, positions, layer norm, encoder and decoder block) and put them together into a
#   **Transformer** that gives the same numbers as torch's own layers;
# - write two **tests that need no reference**: what must happen when the input is shuffled, and that nothing of the
#   future may leak into the past;
# - train it in less than a minute to **add and subtract**, read out of its attention which digits it looks at, and see
#   why it helps to write numbers backwards.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $N$ | number of sequences in a batch | a number |
# | $S$, $T$ | number of steps that ask (queries), number of steps that are asked (keys) | numbers |
# | $D$, $M$ | features of a query or key, features of a value | numbers |
# | $Q$, $K$, $V$ | queries, keys, values: `q`, `k`, `v` | $(N, S, D)$, $(N, T, D)$, $(N, T, M)$ |
# | $A$ | scores | $(N, S, T)$ |
# | $B$ | mask: may this query attend to this key? `mask` | $(N, S, T)$, bool |
# | $P$ | attention weights: how a query shares out its attention | $(N, S, T)$ |
# | $O$ | output, `out` | $(N, S, M)$ |
# | $h$ | number of heads; $D$ is a multiple of it | a number |
# | $X$ | sequences of vectors, `x` | $(N, T, D)$; $(N, S, D)$ where it asks others |
# | $C$ | the vectors that are asked, `context` | $(N, T, D)$ |
# | $Z$ | what the encoder makes of the source, `memory` | $(N, T, D)$ |
# | $dQ$, short for $\partial L / \partial Q$ | gradient of the loss $L$ by $Q$; likewise for every tensor | as $Q$ |
#
# Small letters are rows: $q$ and $k_t$ have the shape $(D,)$, $v_t$ and $o$ the shape $(M,)$, and $a_t$, $b_t$, $p_t$
# are numbers. With several heads $Q$, $K$ and $V$ have one more axis, $(N, h, S, D/h)$ and so on; the formulas stay as
# they are.

# %% tags=["setup"]
import math
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast

# %% [markdown]
# ## 1. A soft look-up
#
# A dict maps keys to values: it compares a query with every key, finds the one that is equal, and returns its value.
# There is no gradient in that. Attention is the same thing made soft. Compare the query $q$ with every key $k_t$ by
# their inner product; turn the scores into weights that are positive and add up to 1; return the weighted mean of the
# values:
#
# $$a_t = \frac{q \cdot k_t}{\sqrt D}, \qquad p_t = \frac{e^{a_t}}{\sum_{u=1}^{T} e^{a_u}}, \qquad
# o = \sum_{t=1}^{T} p_t v_t .$$
#
# A key that fits much better than the others gets nearly all the weight: then it is a dict. If all fit alike it is a
# plain mean. Whatever lies between can be learned, because everything here has a derivative.
#
# *An example with $D = 1$.* Let $q = 1$, the keys $0$ and $\log 3$, the values $4$ and $0$. The scores are $0$ and
# $\log 3$, their exponentials $1$ and $3$, the weights $\tfrac14$ and $\tfrac34$, and the output is $\tfrac14 \cdot 4 +
# \tfrac34 \cdot 0 = 1$.
#
# ### Masks
#
# Often a query must not see everything: padding at the end of a short sequence, or the words that it is to predict. In
# this course **True stands for: may attend**. (torch's own modules use both senses: in `nn.MultiheadAttention` True is
# *blocked*, in `F.scaled_dot_product_attention` it is *allowed*. Look twice.) The sum in the denominator then runs over
# the allowed keys only, and the weights of all others are exactly 0:
#
# $$p_t = \frac{b_t \, e^{a_t}}{\sum_{u} b_u \, e^{a_u}}, \qquad b_t \in \{0, 1\} .$$
#
# And where *nothing* is allowed this is $0/0$. Our convention: **all weights of such a row are 0, and so is its
# output**. It happens more often than one would think, for instance when a sequence in a batch is empty. A NaN there
# would spread through every later layer to the loss, and one empty sequence would ruin the whole batch.
#
# One more trap: $e^{710}$ is infinite in float64, and $e^{89}$ in float32. The weights stay the same when one number is
# subtracted from all scores of a query; if it is the largest score that is allowed, nothing can overflow.
#
# First with loops. It will be slow, and obviously right. The softmax you write yourself: until section 3 nothing out of
# `torch.nn`, no softmax of torch's and no autograd.


# %% exercise="a4/attention_naive"
def attention_naive(q, k, v, mask=None):
    """Compute scaled dot-product attention, query by query.

    Args:
        q: Queries, shape (N, S, D), floating point; not modified.
        k: Keys, shape (N, T, D), T at least 1.
        v: Values, shape (N, T, M).
        mask: Bool, shape (N, S, T), True = may attend; None allows everything.

    Returns:
        Output, shape (N, S, M): for every query the mean of the values, weighed by the softmax over the allowed keys of
        (query · key) / sqrt(D). Zeros for a query that may attend to nothing. No overflow, however large the scores
        are.
    """
    ### BEGIN SOLUTION
    (N, S, D), T = q.shape, k.shape[1]
    out = q.new_zeros(N, S, v.shape[2])
    for n in range(N):
        for s in range(S):
            allowed = [t for t in range(T) if mask is None or mask[n, s, t]]
            if not allowed:
                continue
            scores = k[n, allowed] @ q[n, s] / math.sqrt(D)  # (allowed,)
            exps = (scores - scores.max()).exp()
            out[n, s] = exps / exps.sum() @ v[n, allowed]
    return out
    ### END SOLUTION


# %% check="a4/attention_naive"
check("a4/attention_naive", attention_naive)

# %% [markdown]
# ### Why $\sqrt D$
#
# Let the entries of $q$ and $k$ be independent, with mean 0 and variance 1. A product $q_d k_d$ then has mean 0 and
# variance 1 as well, and the sum of $D$ of them has variance $D$:
#
# $$\operatorname{Var}(q \cdot k) = \sum_{d=1}^{D} \operatorname{Var}(q_d k_d) = D .$$
#
# So scores get larger with $D$, like $\sqrt D$, and the softmax of large numbers is all or nothing: one weight near 1,
# the others near 0. There its gradient vanishes, because it has factors $p_t (1 - p_t)$ and $p_t p_u$, and what does
# not get a gradient does not learn. Divided by $\sqrt D$, scores have variance 1 whatever $D$ is. What to expect, on
# random vectors with 20 keys: without the division the largest weight goes to 1 and the Jacobian to 0 as $D$ grows. At
# $D = 256$ we measured 0.92 for the largest weight and 0.10 for the Jacobian's size, and with the division 0.21 and
# 0.28, nearly the same for all $D$.

# %% tags=["demo"]
sizes, keys, draws = (1, 4, 16, 64, 256, 1024), 20, 200 if is_fast() else 2000
generator = torch.Generator().manual_seed(0)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3), layout="constrained")
measured = {"without": [], "with": []}
for size in sizes:
    q = torch.randn(draws, 1, size, generator=generator)
    k = torch.randn(draws, keys, size, generator=generator)
    scores = (q @ k.mT)[:, 0]
    for name, scaled in {"without": scores, "with": scores / math.sqrt(size)}.items():
        p = scaled.softmax(dim=1)
        jacobian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        measured[name].append((scaled.std(), p.amax(dim=1).mean(), jacobian.flatten(1).norm(dim=1).mean()))
titles = "standard deviation of a score", "largest of 20 weights, mean", "size of the softmax's Jacobian, mean"
for number, (axis, title) in enumerate(zip(axes, titles, strict=True)):
    for colour, marker, (name, rows) in zip(COLOURS, "os", measured.items(), strict=False):
        axis.plot(sizes, [row[number] for row in rows], color=colour, marker=marker, label=rf"{name} $1/\sqrt{{D}}$")
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set_xlabel("D")
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3)
axes[0].plot(sizes, [math.sqrt(size) for size in sizes], color="black", ls=":", lw=2, zorder=3, label=r"$\sqrt{D}$")
axes[0].set_yscale("log", base=2)
axes[0].legend(frameon=False, fontsize=8)
plt.show()
for name, rows in measured.items():
    print(f"{name:7} the division, D = 256: a score has a standard deviation of {rows[4][0]:.2f},", end=" ")
    print(f"the largest weight is {rows[4][1]:.2f}, the Jacobian has size {rows[4][2]:.3f}")

# %% [markdown]
# ### Without loops
#
# All scores of a sequence are one matrix product, and so is the weighted mean:
#
# $$\underbrace{A}_{(N, S, T)} = \frac{1}{\sqrt D} \; \underbrace{Q}_{(N, S, D)} \underbrace{K^\top}_{(N, D, T)}, \qquad
# P = \operatorname{softmax}_{\text{over } T}(A \text{ where } B \text{ allows}), \qquad
# \underbrace{O}_{(N, S, M)} = \underbrace{P}_{(N, S, T)} \underbrace{V}_{(N, T, M)} .$$
#
# In torch `x @ y` multiplies the last two axes and takes the others along, so heads need no extra code; `k.mT` swaps
# the last two. Three things to take care of:
#
# - **Large scores.** Subtract the maximum of each row, as before: that of the *allowed* scores. A blocked one may be so
#   large that all others vanish beside it.
# - **Blocked scores.** They have to be out of the sum, not small in it. A score of $-\infty$ has the exponential 0.
# - **Rows with nothing in them.** There the maximum is $-\infty$ itself, $-\infty - (-\infty)$ is NaN, and the sum of
#   exponentials is 0.
#
# The weights first. Later modules train through this function, so leave autograd a way through: no `.item()`, no
# `.detach()` of the result, nothing overwritten that was computed from `q` and `k`.


# %% exercise="a4/attention_weights"
def attention_weights(q, k, mask=None):
    """Compute the attention weights of all queries at once, without a loop.

    Args:
        q: Queries, shape (..., S, D), floating point; not modified.
        k: Keys, shape (..., T, D), T at least 1. The axes in front are those of ``q``: (N,) or (N, heads).
        mask: Bool, of a shape that broadcasts to (..., S, T), True = may attend; None allows everything.

    Returns:
        Shape (..., S, T), dtype of ``q``: the softmax over the allowed keys of (query · key) / sqrt(D). Exactly 0 for
        keys that are not allowed, and all 0 for a query that may attend to nothing. No overflow, however large the
        scores are.
    """
    ### BEGIN SOLUTION
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    top = scores.amax(dim=-1, keepdim=True)
    exps = (scores - top.masked_fill(top == -math.inf, 0.0)).exp()
    total = exps.sum(dim=-1, keepdim=True)
    return exps / total.masked_fill(total == 0, 1.0)
    ### END SOLUTION


# %% check="a4/attention_weights"
check("a4/attention_weights", attention_weights)

# %% [markdown]
# ### The way back
#
# $O = PV$ is a matrix product, and you know the rule:
#
# $$\underbrace{dV}_{(N, T, M)} = \underbrace{P^\top}_{(N, T, S)} \underbrace{dO}_{(N, S, M)}, \qquad
# \underbrace{dP}_{(N, S, T)} = \underbrace{dO}_{(N, S, M)} \underbrace{V^\top}_{(N, M, T)} .$$
#
# Now the softmax, one row at a time. From $p_t = e^{a_t} / \sum_u e^{a_u}$, with $\delta_{tu} = 1$ for $t = u$ and 0
# otherwise,
#
# $$\frac{\partial p_t}{\partial a_u} = p_t \, (\delta_{tu} - p_u), \qquad\text{hence}\qquad
# da_u = \sum_t dp_t \, p_t \, (\delta_{tu} - p_u) = p_u \Bigl( dp_u - \sum_t p_t \, dp_t \Bigr) .$$
#
# The sum is the same for all $u$ in a row: the mean of $dp$ under the weights. A score is worth raising if its key is
# better *than the mean of what is looked at now*. For the whole matrix, with the sum taken along $T$ and kept as an
# axis of length 1,
#
# $$\underbrace{dA}_{(N, S, T)} = P \odot \Bigl( dP - \underbrace{\textstyle\sum_t (P \odot dP)_t}_{(N, S, 1)} \Bigr),
# \qquad dQ = \frac{1}{\sqrt D} \, dA \, K, \qquad dK = \frac{1}{\sqrt D} \, dA^\top Q .$$
#
# And the mask? Blocked weights are constants, 0, so their scores get no gradient. The formula says so by itself: where
# $p_u = 0$, $da_u = 0$. A row that is blocked as a whole gives nothing to anybody. The backward pass need not know the
# mask.
#
# *The example from above*, with $do = 1$: $dv = (\tfrac14, \tfrac34)$; $dp = (4, 0)$, whose mean under the weights is
# $\tfrac14 \cdot 4 = 1$; $da = (\tfrac14 \cdot (4 - 1), \tfrac34 \cdot (0 - 1)) = (\tfrac34, -\tfrac34)$; so $dq =
# \tfrac34 \cdot 0 - \tfrac34 \log 3 \approx -0.824$ and $dk = (\tfrac34, -\tfrac34)$. The two scores' gradients add up
# to 0, as they must: adding a number to both changes nothing.


# %% exercise="a4/scaled_dot_product_attention"
def scaled_dot_product_attention_forward(q, k, v, mask=None):
    """Compute the forward pass of scaled dot-product attention, without a loop.

    Args:
        q: Queries, shape (..., S, D), floating point; not modified.
        k: Keys, shape (..., T, D), T at least 1. The axes in front are those of ``q``: (N,) or (N, heads).
        v: Values, shape (..., T, M).
        mask: Bool, of a shape that broadcasts to (..., S, T), True = may attend; None allows everything.

    Returns:
        ``(out, cache)``: the output, shape (..., S, M), zeros for a query that may attend to nothing; and what
        ``scaled_dot_product_attention_backward`` needs.
    """
    ### BEGIN SOLUTION
    weights = attention_weights(q, k, mask)
    return weights @ v, (q, k, v, weights)
    ### END SOLUTION


# %% exercise="a4/scaled_dot_product_attention"
def scaled_dot_product_attention_backward(dout, cache):
    """Compute the backward pass of scaled dot-product attention, without a loop.

    Args:
        dout: Upstream gradient, shape (..., S, M); not modified.
        cache: What ``scaled_dot_product_attention_forward`` returned.

    Returns:
        ``(dq, dk, dv)``: gradients of shapes (..., S, D), (..., T, D) and (..., T, M). A query that may attend to
        nothing gets zeros and gives none to keys and values.
    """
    ### BEGIN SOLUTION
    q, k, v, weights = cache
    dv = weights.mT @ dout
    dweights = dout @ v.mT
    mean = (weights * dweights).sum(dim=-1, keepdim=True)
    dscores = weights * (dweights - mean) / math.sqrt(q.shape[-1])
    return dscores @ k, dscores.mT @ q, dv
    ### END SOLUTION


# %% check="a4/scaled_dot_product_attention"
check("a4/scaled_dot_product_attention", scaled_dot_product_attention_forward, scaled_dot_product_attention_backward)

# %% [markdown]
# The example again, by your functions; then the clock. What to expect: at 128 steps the loops take some hundreds of
# times as long as the matrix products. From 128 to 1024 steps the number of scores grows by 64, and the time by at
# least as much: $P$ has 16 MB then and does not fit into the fast memory next to the processor. torch's fused version
# never writes $P$ down as a whole, and wins the more the longer the sequence is.

# %% tags=["demo"]
example = torch.tensor([[[1.0]]]), torch.tensor([[[0.0], [math.log(3)]]]), torch.tensor([[[4.0], [0.0]]])
answer, kept = scaled_dot_product_attention_forward(*example)
gradients = scaled_dot_product_attention_backward(torch.ones(1, 1, 1), kept)
for name, tensor in zip(("out", "dq", "dk", "dv"), (answer, *gradients), strict=True):
    print(f"{name:3} = {[round(value, 3) for value in tensor.flatten().tolist()]}")


def milliseconds(function, *arguments):
    """Return the shortest of several times, in milliseconds."""
    times = []
    while len(times) < 3 or (sum(times) < 0.3 and len(times) < 50):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


print("\n steps    loops  products   fused   (ms; 4 sequences, D = M = 32, float32)")
for steps in (32, 128) if is_fast() else (32, 128, 512, 1024):
    q, k, v = (torch.randn(4, steps, 32, generator=generator) for _ in range(3))
    loops = f"{milliseconds(attention_naive, q, k, v):9.1f}" if steps <= 128 else "        –"
    products = milliseconds(lambda q, k, v: scaled_dot_product_attention_forward(q, k, v)[0], q, k, v)
    print(f"{steps:6}{loops}{products:10.2f}{milliseconds(F.scaled_dot_product_attention, q, k, v):8.2f}")

# %% [markdown] question="attention_cost" points=3
# **Question 1 (3 points).** Self-attention over $T$ steps with $D$ features in one head ($S = T$, $M = D$), inside a
# block with four affine layers $D \to D$ (queries, keys, values, output) and a feed-forward net $D \to 4D \to D$. (a)
# How many multiplications do the two products with $T \times T$ matrices need, and how many the affine layers? From
# which $T$ on do the former cost more? (b) How many bytes do the weights $P$ take for a batch of 8 sequences of 4096
# steps with 12 heads, in float32, in one layer? Why does training need them for all layers at once and use does not?
# (c) The fused version never stores $P$. What does it have to keep per row to be able to go back, and why does $\sum_t
# p_t \, dp_t$ not need $P$ either? (Hint: write it with $o$ and $do$.)
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $QK^\top$ and $PV$: $2 T^2 D$. The affine layers: $4 T D^2 + 8 T D^2 = 12 T D^2$. The former cost
# more for $T > 6D$ (with the four layers alone $T > 2D$). (b) $8 \cdot 12 \cdot 4096^2 \cdot 4$ bytes $\approx 6.4
# \cdot 10^9$ bytes, 6 GiB. The backward pass needs the $P$ of every layer and starts only when the last layer is done;
# in use each layer's can be forgotten as soon as its output is there. (c) Maximum and sum of exponentials of each row
# (or the logarithm of the sum, one number): with it and $Q$, $K$ each block of $P$ can be computed again. $\sum_t p_t
# \, dp_t = \sum_t p_t \, (do \cdot v_t) = do \cdot \sum_t p_t v_t = do \cdot o$: one inner product of two vectors of
# length $M$ that are there.
#
# *Rubric.* 1 point: both counts and the crossing. 1 point: about 6.4 GB, and the reason. 1 point: one or two numbers
# per row, and $do \cdot o$.
# ### END MARK SCHEME

# %% [markdown]
# ## 2. No look into the future
#
# A net that writes one token after the other is trained on all steps at once: step $t$ gets the tokens up to $t$ and is
# to predict the next one. All steps stand in the same tensor, so step $t$ *could* look at step $t + 1$, where the
# answer is. It would learn to copy, with a loss near 0, and be of no use when there is nothing to copy from. The
# **causal mask** takes that away: query $s$ may attend to key $t$ only if $t \le s$, itself included.


# %% exercise="a4/causal_mask"
def causal_mask(T, device=None):
    """Return the mask that hides the future.

    Args:
        T: Number of steps, at least 1.
        device: Where to make the mask; None is torch's default.

    Returns:
        Bool, shape (T, T): True where row s (the query) may attend to column t (the key), which is where t <= s.
    """
    ### BEGIN SOLUTION
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()
    ### END SOLUTION


# %% check="a4/causal_mask"
check("a4/causal_mask", causal_mask)

# %% [markdown]
# Below, weights of random queries and keys under four masks. Two masks are combined with `&`. In the last two pictures
# the keys from 5 on are padding; in the last one the sequence is read as a decoder would. Every row adds up to 1.

# %% tags=["demo"]
steps = 8
q, k = torch.randn(1, steps, 16, generator=generator), torch.randn(1, steps, 16, generator=generator)
is_word = torch.arange(steps) < 5
masks = {
    "everything": torch.ones(steps, steps, dtype=torch.bool),
    "causal": causal_mask(steps),
    "padding from key 5 on": is_word[None].expand(steps, steps),
    "causal and padding": causal_mask(steps) & is_word,
}
figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.9), layout="constrained", sharey=True)
for axis, (name, mask) in zip(axes, masks.items(), strict=True):
    weights = attention_weights(q, k, mask)[0]
    picture = axis.imshow(weights.masked_fill(~mask, math.nan), cmap="viridis", vmin=0, vmax=1)
    axis.set_facecolor("#dddddd")
    axis.set_title(name, fontsize=10)
    axis.set_xlabel("key t")
    axis.set_xticks(range(steps))
    axis.set_yticks(range(steps))
axes[0].set_ylabel("query s")
figure.colorbar(picture, ax=axes, label="weight (grey: blocked)", shrink=0.85)
plt.show()

# %% [markdown]
# ## 3. Several heads
#
# One query has one distribution of attention. To look at two places for two reasons it needs two: **heads**. Each of
# the $h$ heads has queries, keys and values of $D/h$ features, made by affine layers of its own; what the heads find is
# put side by side, and one more affine layer mixes it:
#
# $$Q = X W_Q + b_Q, \quad K = C W_K + b_K, \quad V = C W_V + b_V, \qquad
# \text{out} = [O_1, \dots, O_h] \, W_O + b_O, \quad O_i = \operatorname{attention}(Q_i, K_i, V_i) .$$
#
# $X$ of shape $(N, S, D)$ asks, the *context* $C$ of shape $(N, T, D)$ is asked. With $C = X$ this is
# **self-attention**, and with another sequence **cross-attention**. The layers of all heads together are one layer $D
# \to D$, with $W_Q$, $W_K$, $W_V$, $W_O$ of shape $(D, D)$ and biases of shape $(D,)$. Its first $D/h$ features are
# those of head 1, the next those of head 2:
#
# $$(N, S, D) \;\xrightarrow{\text{cut}}\; (N, S, h, D/h) \;\xrightarrow{\text{swap}}\; (N, h, S, D/h) .$$
#
# After the attention the same in reverse. A `reshape` straight from $(N, S, D)$ to $(N, h, S, D/h)$ has the right
# shape and the wrong content: it cuts along the steps. No error will tell you. A score is a sum over $D/h$ features
# now, so that the root is that of $D/h$, which `attention_weights` sees by itself.
#
# (One bias in there is idle: that of the keys adds $q \cdot b_K$ to all scores of a query, which no softmax notices.
# Its gradient is 0 but for rounding. torch's module has it too.)
#
# From here on `nn.Linear`, `nn.LayerNorm`, `nn.Embedding` and autograd are allowed, except in section 5, where you
# write layer norm once by hand. torch's ready-made attention (`nn.MultiheadAttention`, `nn.Transformer…`,
# `F.scaled_dot_product_attention`) is not: it is what the check compares you with.


# %% exercise="a4/multi_head_attention"
class MultiHeadAttention(nn.Module):
    """Multi-head attention; its layers are ``query``, ``key``, ``value`` and ``output``, each ``nn.Linear(D, D)``.

    After each call ``weights`` holds the attention weights of that call, shape (N, heads, S, T), for pictures:
    detached, and no part of the state dict.
    """

    def __init__(self, D, heads):
        """Make the layers.

        Args:
            D: Features, a multiple of ``heads``.
            heads: Number of heads, at least 1.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.heads = heads
        self.query = nn.Linear(D, D)
        self.key = nn.Linear(D, D)
        self.value = nn.Linear(D, D)
        self.output = nn.Linear(D, D)
        ### END SOLUTION

    def forward(self, x, context, mask=None):
        """Let x attend to the context.

        Args:
            x: What asks, shape (N, S, D); not modified.
            context: What is asked, shape (N, T, D); ``x`` itself for self-attention.
            mask: Bool, of a shape that broadcasts to (N, 1, S, T), the same for all heads; True = may attend.

        Returns:
            Shape (N, S, D). Where a query may attend to nothing, the bias of ``output``.
        """
        ### BEGIN SOLUTION
        q, k, v = (
            layer(source).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, heads, steps, D / heads)
            for layer, source in ((self.query, x), (self.key, context), (self.value, context))
        )
        weights = attention_weights(q, k, mask)
        self.weights = weights.detach()
        return self.output((weights @ v).transpose(1, 2).flatten(2))
        ### END SOLUTION


# %% check="a4/multi_head_attention"
check("a4/multi_head_attention", MultiHeadAttention)

# %% [markdown]
# ## 4. Positions
#
# Nothing in attention knows *where* a step stands. Shuffle the keys together with their values, and a sum over them is
# what it was. Shuffle the queries, and the outputs are shuffled likewise. So 12 and 21 are the same to it. The position
# has to be written into the vectors, by adding to each a vector that depends on nothing but its place.
#
# ### Sines and cosines
#
# Think of the hands of a clock: one turns fast and tells neighbours apart, another slowly and tells morning from
# evening. Each pair of features is a hand; pair $j = 0, 1, \dots$ turns by $\omega_j$ radians from step to step, from 1
# down to nearly 1/10,000. The table $E$ has the shape $(T, D)$:
#
# $$E_{t,\, 2j} = \sin(\omega_j t), \qquad E_{t,\, 2j + 1} = \cos(\omega_j t), \qquad \omega_j = 10000^{-2j/D}, \qquad
# t = 0, 1, \dots, T - 1 .$$
#
# It has no weights and no end: any $t$ has a row. If $D$ is odd the last pair has a sine only. And the inner product of
# two rows depends on their distance alone, since $\sin a \sin b + \cos a \cos b = \cos(a - b)$:
#
# $$E_s \cdot E_t = \sum_j \cos\bigl( \omega_j (s - t) \bigr) \qquad (D \text{ even}).$$


# %% exercise="a4/positional_encoding"
def positional_encoding(x):
    """Return the table of sines and cosines for a batch of sequences.

    Args:
        x: Vectors, shape (N, T, D), floating point; only its shape, dtype and device matter. D may be odd.

    Returns:
        Shape (T, D), dtype and device of ``x``: sin(t / 10000^(2j / D)) in column 2j, the cosine of the same in
        column 2j + 1; t counts from 0.
    """
    ### BEGIN SOLUTION
    T, D = x.shape[1:]
    steps = torch.arange(T, dtype=x.dtype, device=x.device)
    even = torch.arange(0, D, 2, dtype=x.dtype, device=x.device)
    angles = steps[:, None] / 10000 ** (even / D)  # (T, ceil(D / 2))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :D]
    ### END SOLUTION


# %% check="a4/positional_encoding"
check("a4/positional_encoding", positional_encoding)

# %% [markdown]
# Left, the table as an image, one row per position. Its first columns are the fast hands; the last ones hardly move
# over 100 steps. In the middle, the inner products: a ridge along the diagonal, equal along every parallel to it.
# Right, three of their rows: the same curve, moved.

# %% tags=["demo"]
table = positional_encoding(torch.zeros(1, 100, 64))
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained", width_ratios=[1.15, 1, 1])
picture = axes[0].imshow(table, cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
axes[0].set_title("positional encoding", fontsize=10)
axes[0].set_xlabel("feature")
axes[0].set_ylabel("position")
figure.colorbar(picture, ax=axes[0])
picture = axes[1].imshow(table @ table.T, cmap="viridis")
axes[1].set_title("inner products of positions", fontsize=10)
axes[1].set_xlabel("position")
figure.colorbar(picture, ax=axes[1], shrink=0.8)
for colour, place in zip(COLOURS, (10, 50, 80), strict=False):
    axes[2].plot(table @ table[place], color=colour, label=f"with position {place}")
axes[2].set_title("three rows of it", fontsize=10)
axes[2].set_xlabel("position")
axes[2].set_ylim(10, 43)
axes[2].legend(frameon=False, fontsize=8, loc="upper right")
axes[2].grid(alpha=0.3)
plt.show()

# %% [markdown]
# ### Learned positions
#
# Or let the table be a weight like any other, one row per position, and train it. That is what the vision Transformer
# (ViT) does. It can learn whatever the task needs, and it has an end: for a position beyond the last row there is
# nothing, and rows that were rarely used in training are hardly trained. Asking for more should be an error, not a
# wrong answer.


# %% exercise="a4/learned_positions"
class LearnedPositions(nn.Module):
    """Adds a learned vector to every step; its only weight is ``table``, ``nn.Parameter``, shape (max_length, D)."""

    def __init__(self, max_length, D):
        """Make the table; with which numbers it starts is up to you.

        Args:
            max_length: Number of positions, at least 1.
            D: Features.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.table = nn.Parameter(torch.zeros(max_length, D))
        ### END SOLUTION

    def forward(self, x):
        """Add row t of the table to step t.

        Args:
            x: Shape (N, T, D); not modified.

        Returns:
            Shape (N, T, D).

        Raises:
            ValueError: If T is larger than max_length.
        """
        ### BEGIN SOLUTION
        T = x.shape[1]
        if len(self.table) < T:
            raise ValueError(f"{T} steps, but positions for {len(self.table)}")
        return x + self.table[:T]
        ### END SOLUTION


# %% check="a4/learned_positions"
check("a4/learned_positions", LearnedPositions)

# %% [markdown] question="positions" points=3
# **Question 2 (3 points).** (a) Let $\Pi$ be a permutation matrix, $(T, T)$, and let self-attention without mask and
# positions map $X$, $(T, D)$, to $f(X)$. Show $f(\Pi X) = \Pi f(X)$ from the formulas; use that a softmax over the rows
# of $\Pi A \Pi^\top$ is $\Pi \operatorname{softmax}(A) \Pi^\top$. (b) An encoder without positions reads `12+34`. Which
# other problems of two-digit addition can it not tell from this one, if the decoder reads its output by
# cross-attention? Which of them have the same answer anyway? (c) The encoder gets positions, the decoder does not, but
# it has its causal mask. Is the decoder's output at step $s$ still blind to the order of the tokens before it? Think of
# one layer first, then of two.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $Q$, $K$, $V$ become $\Pi Q$, $\Pi K$, $\Pi V$, since affine layers work on each row by itself.
# $A' = \Pi Q K^\top \Pi^\top / \sqrt D = \Pi A \Pi^\top$, $P' = \Pi P \Pi^\top$, $P' V' = \Pi P \Pi^\top \Pi V = \Pi P
# V$ because $\Pi^\top \Pi = I$; the output layer works on rows again. (b) The memory is the same set of vectors in
# another order, and cross-attention sums over them. So all problems with the digits 1, 2, 3, 4 and a plus are one: 24
# arrangements of the digits (and the plus could stand anywhere). The same answer have those that keep tens and units:
# 12+34, 14+32, 34+12, 32+14 give 46. (c) With one layer, the step's own token is told apart (the query), but those
# before it are a set: its weights and values do not depend on their order. With two layers no longer: the vector at an
# earlier step $u$ has already mixed the tokens up to $u$, so it depends on what stood before it, and different orders
# give different sets of vectors. The causal mask leaks some order. Its first step sees one token, the second two, and
# so on.
#
# *Rubric.* 1 point: derivation. 1 point: same digits in any order, and which share the answer. 1 point: one layer blind
# to the order of earlier tokens, deeper ones not, with the reason.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. Layer norm and the feed-forward net
#
# Between attentions, a Transformer keeps its vectors in order with **layer norm**. Each vector of $D$ features, at each
# step of each sequence, is brought to mean 0 and variance 1 *by itself*, and then scaled and shifted by $\gamma$ and
# $\beta$ of shape $(D,)$. Lengths of sequences, other steps and other sequences of the batch do not matter: what is
# padding for one sequence cannot disturb another, and training and use are the same. For one vector $x$,
#
# $$\mu = \frac1D \sum_d x_d, \qquad \sigma^2 = \frac1D \sum_d (x_d - \mu)^2, \qquad
# \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}, \qquad y = \gamma \odot \hat x + \beta, \qquad
# \varepsilon = 10^{-5} .$$
#
# Back, with $g = \gamma \odot dy$: the output depends on $x_d$ directly, through $\mu$, and through $\sigma^2$. The
# latter two take away the parts of $g$ that lie along the vector of ones and along $\hat x$, because a change of $x$ in
# those directions is normalised away (along $\hat x$ but for $\varepsilon$):
#
# $$dx = \frac{1}{\sqrt{\sigma^2 + \varepsilon}} \Bigl( g - \operatorname{mean}(g) - \hat x \,
# \operatorname{mean}(g \odot \hat x) \Bigr), \qquad d\gamma = \sum dy \odot \hat x, \qquad d\beta = \sum dy ,$$
#
# with means over the $D$ features and sums over all steps of all sequences. (Stage 3 derives this for rows of a matrix,
# step by step. $\varepsilon$ changes nothing in it, since $\partial \sqrt{\sigma^2 + \varepsilon} / \partial x_d = \hat
# x_d / D$ with and without.) By hand, once: no `nn.LayerNorm`, no `F.layer_norm`, no autograd. The blocks take torch's
# afterwards.


# %% exercise="a4/layer_norm"
def layer_norm_forward(x, gamma, beta):
    """Compute the forward pass of layer norm over the last axis.

    Args:
        x: Shape (..., D) with any number of axes in front, none included; floating point; not modified.
        gamma: Scale, shape (D,).
        beta: Shift, shape (D,).

    Returns:
        ``(out, cache)``: the output, shape of ``x``, with the biased variance and eps = 1e-5 added to it; and what
        ``layer_norm_backward`` needs.
    """
    ### BEGIN SOLUTION
    centred = x - x.mean(dim=-1, keepdim=True)
    spread = (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    whitened = centred / spread
    return gamma * whitened + beta, (whitened, spread, gamma)
    ### END SOLUTION


# %% exercise="a4/layer_norm"
def layer_norm_backward(dout, cache):
    """Compute the backward pass of layer norm over the last axis.

    Args:
        dout: Upstream gradient, shape (..., D); not modified.
        cache: What ``layer_norm_forward`` returned.

    Returns:
        ``(dx, dgamma, dbeta)``: gradients of shapes (..., D), (D,) and (D,).
    """
    ### BEGIN SOLUTION
    whitened, spread, gamma = cache
    D = len(gamma)
    g = dout * gamma
    along = (g * whitened).mean(dim=-1, keepdim=True)
    dx = (g - g.mean(dim=-1, keepdim=True) - whitened * along) / spread
    return dx, (dout * whitened).reshape(-1, D).sum(dim=0), dout.reshape(-1, D).sum(dim=0)
    ### END SOLUTION


# %% check="a4/layer_norm"
check("a4/layer_norm", layer_norm_forward, layer_norm_backward)

# %% [markdown]
# Attention moves vectors from step to step, but all it does with the values is to take means. The thinking is left to a
# small net of two affine layers with ReLU in between, applied to each step by itself:
#
# $$\operatorname{FFN}(x) = \operatorname{ReLU}(x W_1 + b_1) \, W_2 + b_2, \qquad
# (D) \to (\text{hidden}) \to (D) ,$$
#
# with $W_1$ of shape $(D, \text{hidden})$ and $W_2$ of shape $(\text{hidden}, D)$; `nn.Linear` stores the transposes.


# %% exercise="a4/feed_forward"
class FeedForward(nn.Module):
    """The net that works on each step by itself; its layers are ``fc1``, D to hidden, and ``fc2``, hidden to D."""

    def __init__(self, D, hidden):
        """Make the layers.

        Args:
            D: Features.
            hidden: Units in between.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.fc1 = nn.Linear(D, hidden)
        self.fc2 = nn.Linear(hidden, D)
        ### END SOLUTION

    def forward(self, x):
        """Return fc2(ReLU(fc1(x))), shape (N, T, D), for x of shape (N, T, D); x stays as it is."""
        ### BEGIN SOLUTION
        return self.fc2(F.relu(self.fc1(x)))
        ### END SOLUTION


# %% check="a4/feed_forward"
check("a4/feed_forward", FeedForward)

# %% [markdown]
# ## 6. Blocks
#
# A block adds to its input instead of replacing it, as in residual nets. The **encoder block** has two branches:
#
# $$x' = x + \operatorname{attention}\bigl( \operatorname{norm}_1(x) \bigr), \qquad
# y = x' + \operatorname{FFN}\bigl( \operatorname{norm}_2(x') \bigr) .$$
#
# This is **pre-norm**: the norm stands at the beginning of each branch, and nothing stands in the way of the sum. The
# first paper had **post-norm**, $x' = \operatorname{norm}_1(x + \operatorname{attention}(x))$, in which each sum goes
# through a norm. Most large models today are built like ours. There is no dropout in this notebook.


# %% exercise="a4/encoder_block"
class EncoderBlock(nn.Module):
    """Self-attention and feed-forward net, pre-norm, each with a shortcut.

    Its parts are ``norm1``, ``attention`` (``MultiHeadAttention``), ``norm2`` and ``feed_forward`` (``FeedForward``);
    the norms are ``nn.LayerNorm(D)``.
    """

    def __init__(self, D, heads, hidden):
        """Make the parts; the arguments are those of ``MultiHeadAttention`` and ``FeedForward``."""
        super().__init__()
        ### BEGIN SOLUTION
        self.norm1 = nn.LayerNorm(D)
        self.attention = MultiHeadAttention(D, heads)
        self.norm2 = nn.LayerNorm(D)
        self.feed_forward = FeedForward(D, hidden)
        ### END SOLUTION

    def forward(self, x, mask=None):
        """Apply the block.

        Args:
            x: Shape (N, T, D); not modified.
            mask: Bool, of a shape that broadcasts to (N, 1, T, T), True = may attend; None allows everything.

        Returns:
            Shape (N, T, D).
        """
        ### BEGIN SOLUTION
        h = self.norm1(x)
        x = x + self.attention(h, h, mask)
        return x + self.feed_forward(self.norm2(x))
        ### END SOLUTION


# %% check="a4/encoder_block"
check("a4/encoder_block", EncoderBlock)

# %% [markdown]
# The **decoder block** has a third branch in between, in which it reads what the encoder made of the source, the
# *memory* $Z$ of shape $(N, T, D)$. Queries come from the decoder, keys and values from the memory:
#
# $$x' = x + \operatorname{attention}_{\text{self}}\bigl( \operatorname{norm}_1(x) \bigr), \qquad
# x'' = x' + \operatorname{attention}_{\text{cross}}\bigl( \operatorname{norm}_2(x'),\, Z \bigr), \qquad
# y = x'' + \operatorname{FFN}\bigl( \operatorname{norm}_3(x'') \bigr) .$$
#
# $Z$ is not normalised again: the encoder does that once, at its end. There are two masks: the one of the
# self-attention speaks of the decoder's own steps, the one of the cross-attention of the memory's.


# %% exercise="a4/decoder_block"
class DecoderBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward net, pre-norm, each with a shortcut.

    Its parts are ``norm1``, ``self_attention``, ``norm2``, ``cross_attention``, ``norm3`` and ``feed_forward``.
    """

    def __init__(self, D, heads, hidden):
        """Make the parts; the arguments are those of ``MultiHeadAttention`` and ``FeedForward``."""
        super().__init__()
        ### BEGIN SOLUTION
        self.norm1 = nn.LayerNorm(D)
        self.self_attention = MultiHeadAttention(D, heads)
        self.norm2 = nn.LayerNorm(D)
        self.cross_attention = MultiHeadAttention(D, heads)
        self.norm3 = nn.LayerNorm(D)
        self.feed_forward = FeedForward(D, hidden)
        ### END SOLUTION

    def forward(self, x, memory, mask=None, memory_mask=None):
        """Apply the block.

        Args:
            x: Shape (N, S, D); not modified.
            memory: What the encoder gives, shape (N, T, D); not modified.
            mask: For the self-attention: bool, of a shape that broadcasts to (N, 1, S, S), True = may attend.
            memory_mask: For the cross-attention: bool, of a shape that broadcasts to (N, 1, S, T).

        Returns:
            Shape (N, S, D).
        """
        ### BEGIN SOLUTION
        h = self.norm1(x)
        x = x + self.self_attention(h, h, mask)
        x = x + self.cross_attention(self.norm2(x), memory, memory_mask)
        return x + self.feed_forward(self.norm3(x))
        ### END SOLUTION


# %% check="a4/decoder_block"
check("a4/decoder_block", DecoderBlock)

# %% [markdown]
# ### Pre-norm or post-norm
#
# A task for encoders: given eight digits, write them backwards. Two nets of blocks with 32 features learn it, one with
# pre-norm and one with post-norm, with Adam at a learning rate of 0.003 from the first step on. What to expect: with
# two blocks it hardly matters. With twelve, pre-norm takes longer than with two, and post-norm gets stuck. Measured,
# mean loss of the last 20 of 120 steps: 0.05 and 0.08 with two blocks, 0.15 and **1.80** with twelve, where guessing
# gives $\log 10 \approx 2.30$. (With two other seeds, twelve blocks: 0.74 and 1.04 with pre-norm, 1.87 and 1.92 with
# post-norm.)


# %% tags=["demo"]
class PostNormBlock(EncoderBlock):
    """The encoder block as it was in the first paper."""

    def forward(self, x, mask=None):
        x = self.norm1(x + self.attention(x, x, mask))
        return self.norm2(x + self.feed_forward(x))


class Reverser(nn.Module):
    """Blocks between an embedding with positions and an affine layer; pre-norm wants one more norm at the end."""

    def __init__(self, block, depth):
        super().__init__()
        self.embedding = nn.Embedding(10, 32)
        self.blocks = nn.Sequential(*(block(32, 2, 64) for _ in range(depth)))
        self.norm = nn.LayerNorm(32) if block is EncoderBlock else nn.Identity()
        self.output = nn.Linear(32, 10)

    def forward(self, digits):
        x = self.embedding(digits)
        return self.output(self.norm(self.blocks(x + positional_encoding(x))))


depths, steps = (2, 12), 10 if is_fast() else 120
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", sharey=True)
with tqdm(total=2 * len(depths) * steps, desc="pre-norm and post-norm") as bar:
    for axis, depth in zip(axes, depths, strict=True):
        for colour, (name, block) in zip(
            COLOURS, {"pre-norm": EncoderBlock, "post-norm": PostNormBlock}.items(), strict=False
        ):
            torch.manual_seed(0)
            reverser = Reverser(block, depth)
            optimiser = torch.optim.Adam(reverser.parameters(), lr=3e-3)
            losses = []
            for _ in range(steps):
                digits = torch.randint(0, 10, (16, 8))
                loss = F.cross_entropy(reverser(digits).flatten(0, 1), digits.flip(1).flatten())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
                bar.update()
            axis.plot(range(1, steps + 1), losses, color=colour, label=name)
            print(f"{depth:2} blocks, {name}: loss {sum(losses[-20:]) / len(losses[-20:]):.2f}")
        axis.set_title(f"{depth} blocks", fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
axes[0].set_ylabel("training loss")
axes[0].legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown] question="pre_or_post_norm" points=2
# **Question 3 (2 points).** (a) Write the output of $L$ pre-norm blocks as a sum, starting from $x_0$. Along which way
# does the gradient reach $x_0$ without passing a single norm or branch, and is there such a way with post-norm? (b)
# With pre-norm the sum is never normalised inside the blocks. Suppose that each branch adds a vector of variance 1,
# independent of the others: how large is the sum's standard deviation after $L$ blocks of two branches, what does that
# mean for the share that the last branches have in it, and what does the norm behind the last block do about it?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $x_L = x_0 + \sum_\ell \bigl( a_\ell + f_\ell \bigr)$, $a_\ell$ and $f_\ell$ being the branches'
# outputs. The first term is $x_0$ itself, so $\partial x_L / \partial x_0$ holds the identity. With post-norm every sum
# goes through a norm, so each way back passes $2L$ of them, each of which rescales the gradient and takes a part away.
# (b) The variances add up, $\sqrt{1 + 2L}$ with a start of variance 1. A late branch changes the sum's direction by a
# share of about $1/\sqrt{2L}$ only, since its input is normalised while the sum grows: late blocks matter less and
# less. The last norm brings the sum back to size 1, so the output layer sees the same scale at any depth; it cannot
# undo the small share.
#
# *Rubric.* 1 point: the sum and the identity, and that post-norm has no such way. 1 point: growth like $\sqrt{L}$,
# smaller share of late branches, and the last norm's part.
# ### END MARK SCHEME

# %% [markdown]
# ## 7. The Transformer
#
# All parts are there. Source, $(N, T)$, and target, $(N, S)$, are sequences of token numbers, in one vocabulary of $V$
# tokens (in this section the letter $V$ does not stand for values):
#
# $$\text{source} \xrightarrow{\text{embedding} + \text{positions}} (N, T, D) \xrightarrow{\text{encoder blocks}}
# \xrightarrow{\text{norm}} \text{memory } (N, T, D),$$
# $$\text{target} \xrightarrow{\text{embedding} + \text{positions}} (N, S, D) \xrightarrow[\text{memory}]{\text{decoder
# blocks}} \xrightarrow{\text{norm}} \xrightarrow{\text{affine}} \text{scores } (N, S, V) .$$
#
# The scores at step $s$ are those of the token that comes *after* target token $s$. Three things about masks:
#
# - Sequences of a batch have different lengths; short ones are filled up with a token `pad`. **No one may attend to
#   padding of the source**, neither in the encoder nor in the cross-attention. The mask comes from the source itself,
#   and has the shape $(N, 1, 1, T)$: the same for all heads and all queries.
# - **The decoder's self-attention is causal.** Padding of the *target* need not be masked: it stands at the end, where
#   the causal mask hides it from everything before it, and the loss leaves out what is computed there.
# - A source of nothing but padding has only blocked rows. Thanks to the convention its memory is finite, and the
#   decoder reads zeros from it.


# %% exercise="a4/transformer"
class Transformer(nn.Module):
    """Encoder and decoder for sequences of tokens, pre-norm, with sines and cosines for positions.

    Its parts: ``embedding``, ``nn.Embedding(V, D)``, for source and target alike, not scaled; ``encoder`` and
    ``decoder``, each an ``nn.ModuleList`` of ``layers`` blocks; ``encoder_norm`` and ``decoder_norm``,
    ``nn.LayerNorm(D)`` behind the last blocks; ``output``, ``nn.Linear(D, V)``.

    Attributes:
        pad: Number of the token that fills up short sequences.
    """

    def __init__(self, V, D, heads, hidden, layers, pad):
        """Make the parts.

        Args:
            V: Number of tokens.
            D: Features, a multiple of ``heads``.
            heads: Heads of every attention.
            hidden: Units of every feed-forward net.
            layers: Number of encoder blocks, and of decoder blocks, at least 1.
            pad: Number of the token that fills up short sequences.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.pad = pad
        self.embedding = nn.Embedding(V, D)
        self.encoder = nn.ModuleList(EncoderBlock(D, heads, hidden) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(D)
        self.decoder = nn.ModuleList(DecoderBlock(D, heads, hidden) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(D)
        self.output = nn.Linear(D, V)
        ### END SOLUTION

    def encode(self, source):
        """Return the memory, shape (N, T, D), of sources of shape (N, T), int64; nothing attends to ``pad``."""
        ### BEGIN SOLUTION
        x = self.embedding(source)
        x = x + positional_encoding(x)
        mask = (source != self.pad)[:, None, None]  # (N, 1, 1, T)
        for block in self.encoder:
            x = block(x, mask)
        return self.encoder_norm(x)
        ### END SOLUTION

    def decode(self, target, memory, source):
        """Return the scores of the next token at every step.

        Args:
            target: Tokens, shape (N, S), int64. A step sees itself and those before it.
            memory: What ``encode`` made of the source, shape (N, T, D).
            source: The source, shape (N, T), of which ``pad`` is not attended to.

        Returns:
            Shape (N, S, V).
        """
        ### BEGIN SOLUTION
        x = self.embedding(target)
        x = x + positional_encoding(x)
        mask = causal_mask(target.shape[1], target.device)
        memory_mask = (source != self.pad)[:, None, None]
        for block in self.decoder:
            x = block(x, memory, mask, memory_mask)
        return self.output(self.decoder_norm(x))
        ### END SOLUTION

    def forward(self, source, target):
        """Return the scores of the next token, shape (N, S, V), for sources (N, T) and targets (N, S), both int64."""
        ### BEGIN SOLUTION
        return self.decode(target, self.encode(source), source)
        ### END SOLUTION


# %% check="a4/transformer"
check("a4/transformer", Transformer)

# %% [markdown]
# ### Two tests that need no reference
#
# The check could compare you with torch. In your own projects there is nothing to compare with, but two properties must
# hold, whatever the weights are. They find the worst mistakes.
#
# **Shuffling.** Without positions, a net of encoder blocks is *equivariant*: permute the steps, and the outputs are
# permuted in the same way. With `order` of shape $(T,)$, `net(x[:, order])` and `net(x)[:, order]` are the same up to
# rounding (sums run in another order). The largest difference is the gap.
#
# **No leak.** Change one token of the target, and no scores *before* it may change. Here not even rounding is an
# excuse: a blocked weight is exactly 0, and 0 times whatever has changed is 0. The same numbers go through the same
# operations in the same order, so that the difference is 0, not $10^{-16}$. A net that fails this test has a wonderful
# training loss and cannot write.


# %% exercise="a4/invariants"
def permutation_gap(net, x, order):
    """Measure how far a net is from being equivariant to permutations of the steps.

    Args:
        net: Maps vectors of shape (N, T, D) to tensors of shape (N, T, ...).
        x: Vectors, shape (N, T, D); not modified.
        order: A permutation of 0 … T-1, shape (T,), int64: step t of the permuted sequence is step order[t] of ``x``.

    Returns:
        The largest absolute difference between what the net makes of the permuted sequence and the permuted output of
        the net; a 0-dimensional tensor.
    """
    ### BEGIN SOLUTION
    return (net(x[:, order]) - net(x)[:, order]).abs().max()
    ### END SOLUTION


# %% exercise="a4/invariants"
def future_leak(net, tokens, place, other):
    """Measure how much the outputs before a step depend on that step.

    Args:
        net: Maps tokens of shape (N, T), int64, to tensors of shape (N, T, ...).
        tokens: Shape (N, T); not modified.
        place: The step whose tokens are replaced, in every sequence; at least 1.
        other: The token that they are replaced by.

    Returns:
        The largest absolute change of the outputs of the steps before ``place``; a 0-dimensional tensor.
    """
    ### BEGIN SOLUTION
    changed = tokens.clone()
    changed[:, place] = other
    return (net(changed) - net(tokens))[:, :place].abs().max()
    ### END SOLUTION


# %% check="a4/invariants"
check("a4/invariants", permutation_gap, future_leak)

# %% [markdown]
# Now try them on your own parts. What to expect: a gap of the size of rounding without positions and a large one with
# them; a leak of exactly 0 with the mask, and one plain to see without. (To open the mask the cell replaces your
# `causal_mask` for a moment. If your `decode` does not call it, both leaks are 0.)

# %% tags=["demo"]
torch.manual_seed(1)
net = Transformer(15, 32, 4, 64, 2, pad=12)
source, target = torch.randint(0, 10, (3, 6)), torch.randint(0, 10, (3, 5))
x, order = torch.randn(3, 6, 32), torch.randperm(6)
with torch.no_grad():
    plain = permutation_gap(net.encoder[0], x, order)
    placed = permutation_gap(lambda x: net.encoder[0](x + positional_encoding(x)), x, order)
    print(f"gap without positions {plain.item():.0e}, with positions {placed.item():.2f} (float32)")
    memory = net.encode(source)
    leak = max(
        future_leak(lambda tokens: net.decode(tokens, memory, source), target, t, 11).item() for t in range(1, 5)
    )
    # decode looks causal_mask up when it runs, so that another one can take its place for a moment
    hiding, causal_mask = causal_mask, lambda T, device=None: torch.ones(T, T, dtype=torch.bool)
    try:
        open_leak = future_leak(lambda tokens: net.decode(tokens, memory, source), target, 4, 11)
    finally:
        causal_mask = hiding
    print(f"leak with the causal mask {leak}, without it {open_leak.item():.2f}")

# %% [markdown]
# ### Decoding
#
# In training the right answer is given to the decoder, moved one step to the right (*teacher forcing*), and all steps
# are computed at once. In use there is no answer yet. It is written token by token: begin with the start token, ask for
# the scores of the next one, append it, ask again with the longer target. *Greedy* means: take the token with the
# largest score.
#
# When does it end? Each sequence when it has written its end token; the batch when all of them have, or at
# `max_length`. Meanwhile sequences that have ended are filled up with `pad`. The source is encoded once, since it does
# not change.


# %% exercise="a4/greedy_decode"
def greedy_decode(net, source, start, end, max_length):
    """Write the tokens with the largest scores, one after the other.

    Args:
        net: Has ``encode(source)``, ``decode(target, memory, source)`` and ``pad``, as a ``Transformer`` has.
        source: Tokens, shape (N, T), int64; not modified.
        start: The token that every target begins with.
        end: The token that ends a sequence.
        max_length: Largest number of tokens to write, at least 0.

    Returns:
        Tokens, shape (N, L), int64, on the device of ``source``: without the start token, with the end token where one
        was written, and ``net.pad`` behind it. L is the smallest number of steps after which every sequence has ended,
        but at most max_length. ``encode`` is called once and ``decode`` L times, and no graph is built.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        memory = net.encode(source)
        tokens = source.new_full((len(source), 1), start)
        has_ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
        while tokens.shape[1] <= max_length and not has_ended.all():
            scores = net.decode(tokens, memory, source)[:, -1]  # (N, V)
            best = scores.argmax(dim=1).masked_fill(has_ended, net.pad)
            tokens = torch.cat([tokens, best[:, None]], dim=1)
            has_ended = has_ended | (best == end)
    return tokens[:, 1:]
    ### END SOLUTION


# %% check="a4/greedy_decode"
check("a4/greedy_decode", greedy_decode)

# %% tags=["demo"]
# A function that is put into a class is a method of it: net.greedy_decode(source, start, end, max_length).
Transformer.greedy_decode = greedy_decode

# %% [markdown] question="mask_in_use" points=3
# **Question 4 (3 points).** (a) In training the decoder needs the causal mask. Suppose you leave it out in *training*:
# what loss do you expect, what does the net learn, and what happens when it decodes? (b) Suppose the net was trained
# with the mask, and you leave the mask out when *decoding*, one token at a time. With a single decoder block the next
# token's scores stay exactly the same; with two blocks they change. Explain both. (c) In training step $s$ always sees
# the right tokens before it, in use those that the net has written. What can go wrong, and why does accuracy on whole
# answers suffer more than the accuracy per token?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Loss near 0 after a short while: step $s$ finds the answer at step $s + 1$ of its own input and
# copies it. When decoding there is no step $s + 1$; the net has not learned to compute anything, and its answers are
# rubbish. (b) Only the last step's scores are used, and the last step may see everything before it with or without
# mask. With one block its keys and values come straight from embeddings and positions, the same in both cases. With two
# blocks the keys and values of the second come from the outputs of the first at *earlier* steps, which, without mask,
# have seen later tokens, unlike in training; so they differ. (c) One wrong token and all that follows is conditioned on
# something that was never seen in training (exposure bias); errors add up. If a token is right with probability $p$,
# independently, an answer of length $L$ is right with $p^L$, less than $p$.
#
# *Rubric.* 1 point each; (b) needs both halves.
# ### END MARK SCHEME

# %% [markdown]
# ## 8. A net that calculates
#
# Now the whole thing at work: `47+38` in, `85` out; `20-32` in, `-12` out. Tokens are characters, 12 of them, and
# padding, start and end. There are 20,000 problems $a \pm b$ with $0 \le a, b \le 99$. A fifth of them is held out. But
# not just any fifth: who has seen $47 + 38$ knows $38 + 47$, and has a good guess at $47 - 38$. So we hold out *pairs*
# of numbers, with all their problems, and the net never sees the two numbers together in training. Whether 85 is right
# counts as a whole, no points for one digit.
#
# ### Which digit first?
#
# We write 85, but whoever calculates on paper finds the 5 first: it depends on the two units and on nothing else. The
# tens need one bit more, the carry. In the other direction the first digit is the hardest: for the 8 the net has to
# know whether the units will carry, and for 99+1 the carry goes all the way through before the first digit can be
# written. So we train two nets that differ in nothing but the order in which the answer is written. (Written backwards,
# the answer to `20-32` is `21-`: the sign comes last.) With a minus it is not so easy in either order: 0 minus 2 gives
# the last digit 8 in 30 − 12 = 18, but 2 in 10 − 32 = −22. Even the units depend on which number is larger.
#
# What to expect: more than 90 % of the held-out answers with the units first, and some ten points less with the units
# last. Measured after 1,500 steps with batches of 128, about 25 s of processor time for each net: **96.8 %** and
# **84.4 %**. (With batches of 256, as many steps: 96.3 % and 87.2 %.) For the first 300 steps next to nothing is right
# while the loss falls: the net learns which characters can stand where before it learns to calculate. There are 85,903
# weights, and 16,004 problems to learn from.

# %% tags=["demo"]
CHARACTERS = "0123456789+-"
PAD, START, END = 12, 13, 14


def tokens_of(texts, ends=False):
    """Return texts as tokens, filled up with padding; an end token behind each of them if ``ends``."""
    rows = [[CHARACTERS.index(character) for character in text] + [END] * ends for text in texts]
    length = max(map(len, rows))
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


def text_of(row):
    """Return tokens as a text, up to the end token if there is one."""
    row = row.tolist()
    row = row[: row.index(END)] if END in row else row
    return "".join(CHARACTERS[token] if token < PAD else "?" for token in row)


def answer_of(a, sign, b, is_reversed):
    """Return the answer to a problem as a text, units first if ``is_reversed``."""
    text = str(a + b if sign == "+" else a - b)
    return text[::-1] if is_reversed else text


problems = [(a, sign, b) for a in range(100) for sign in "+-" for b in range(100)]
sources = tokens_of([f"{a}{sign}{b}" for a, sign, b in problems])
answers = {order: tokens_of([answer_of(*p, order) for p in problems], ends=True) for order in (True, False)}
pair_of = torch.tensor([100 * min(a, b) + max(a, b) for a, _, b in problems])
pairs = pair_of.unique()
held_pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[: len(pairs) // 5]]
is_held_out = torch.isin(pair_of, held_pairs)
train_rows, test_rows = (~is_held_out).nonzero()[:, 0], is_held_out.nonzero()[:, 0]
print(f"{len(train_rows)} problems to train on, {len(test_rows)} held out")
for row in (47 * 200 + 38, 20 * 200 + 132):
    text = "".join(CHARACTERS[token] for token in sources[row] if token < PAD)
    print(f"{text}: source {sources[row].tolist()}, answer written backwards {answers[True][row].tolist()}")


# %% tags=["demo"]
def which_are_right(net, rows, is_reversed):
    """Return for each problem whether the whole answer is right, a bool tensor."""
    want = answers[is_reversed][rows]
    found = net.greedy_decode(sources[rows], START, END, want.shape[1])
    found = F.pad(found, (0, want.shape[1] - found.shape[1]), value=PAD)
    return (found == want).all(dim=1)


def train(is_reversed, steps, bar, batch_size=128, lr=4e-3):
    """Train a net; return it, the loss of every step, and pairs of step and accuracy on held-out problems."""
    torch.manual_seed(0)
    net = Transformer(15, 64, 4, 128, 1, PAD)
    optimiser = torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.1)
    losses, accuracies = [], []
    for step in range(1, steps + 1):
        rows = train_rows[torch.randint(len(train_rows), (batch_size,))]
        wanted = answers[is_reversed][rows]
        given = F.pad(wanted[:, :-1], (1, 0), value=START)  # the answer, moved one step to the right
        loss = F.cross_entropy(net(sources[rows], given).flatten(0, 1), wanted.flatten(), ignore_index=PAD)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % max(steps // 15, 10) == 0:
            right = which_are_right(net, test_rows[::8], is_reversed).float().mean().item()
            accuracies.append((step, right))
            bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.3f}", right=f"{right:.0%}", refresh=False)
        bar.update()
    return net, losses, accuracies


orders = {"units first": True, "units last": False}
steps = 30 if is_fast() else 1500
runs = {}
with tqdm(total=2 * steps) as bar:
    for name, is_reversed in orders.items():
        bar.set_description(name)
        start = time.process_time()
        runs[name] = train(is_reversed, steps, bar)
        seconds = time.process_time() - start
        right = which_are_right(runs[name][0], test_rows, is_reversed).float().mean()
        print(f"{name}: {right:.1%} of {len(test_rows)} held-out answers right after {steps} steps, {seconds:.0f} s")
net = runs["units first"][0]
print(f"{sum(w.numel() for w in net.parameters()):,} parameters")

figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained")
window = max(steps // 40, 5)
for colour, (name, (_, losses, accuracies)) in zip(COLOURS, runs.items(), strict=False):
    smooth = torch.tensor(losses).unfold(0, window, 1).mean(dim=1)
    axes[0].semilogy(range(window, steps + 1), smooth, color=colour, label=name)
    axes[1].plot(*zip(*accuracies, strict=True), color=colour, marker=".", label=name)
axes[0].set_title(f"training loss, mean of {window} steps", fontsize=10)
axes[1].set_title("held-out answers that are right as a whole", fontsize=10)
axes[1].set_ylim(0, 1)
for axis in axes:
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ### Where does it err?
#
# Held-out problems by kind, for both nets. And a few of another kind altogether: three digits plus two. Nothing in the
# net forbids them, since sines and cosines have a row for every position; but it has never seen them. What to expect,
# as measured: with the units first nearly all additions are right (99.8 %), with or without carry, and 94 % of the
# subtractions; with the units last 92 % and 77 %. Of 200 sums of three digits and two, not one was right. The net has
# learned to add numbers of two digits. It has not learned to add.


# %% tags=["demo"]
def kind_of(a, sign, b):
    """Return the name of the kind that a problem belongs to."""
    if sign == "-":
        return "subtraction, answer below 0" if a < b else "subtraction, answer 0 or more"
    return f"addition, {'units carry' if a % 10 + b % 10 > 9 else 'units do not carry'}"


kinds = sorted({kind_of(*problems[row]) for row in test_rows.tolist()})
print(f"{'':32}{'problems':>9}{'units first':>13}{'units last':>13}")
for kind in kinds:
    rows = torch.tensor([row for row in test_rows.tolist() if kind_of(*problems[row]) == kind])
    rights = [which_are_right(runs[name][0], rows, order).float().mean().item() for name, order in orders.items()]
    print(f"{kind:32}{len(rows):9}{rights[0]:13.1%}{rights[1]:13.1%}")

generator = torch.Generator().manual_seed(0)
longer = [(100 + int(a), int(b)) for a, b in torch.randint(0, 90, (200, 2), generator=generator) + 10]
found = net.greedy_decode(tokens_of([f"{a}+{b}" for a, b in longer]), START, END, 6)
right = sum(text_of(row)[::-1] == str(a + b) for row, (a, b) in zip(found, longer, strict=True))
print(f"three digits plus two, never seen: {right} of {len(longer)} right, such as", end=" ")
print(", ".join(f"{a}+{b} = {text_of(row)[::-1]}" for row, (a, b) in zip(found[:3], longer, strict=False)))

# %% [markdown]
# ### What does it look at?
#
# The attention weights of the net that writes the units first. Rows are the tokens as they are written, columns the
# characters of the problem. Upper pictures: cross-attention, head by head, for one problem. Lower ones: the same, as a
# mean over all held-out additions and subtractions of two-digit numbers.
#
# What to expect: the first token written, the units, looks at the two units and next to nothing else, for both signs
# (one head gives 15 % to the plus); the second one at the tens, or at the sign. Nobody told it where the tens are. In a
# single problem each head mostly picks *one* of the two digits, and not always the same one, so that the mean is near
# one half for both.
#
# Do not read too much into it. The cross-attention reads what the encoder has *made* of the characters, after its own
# attention has mixed them. In a subtraction the units of the answer depend on which number is larger, hence on the
# tens, and yet hardly any weight is on them: the encoder has brought it to the vectors of the units. The carry,
# likewise, must come from there or from the decoder's look at what it has written.


# %% tags=["demo"]
def cross_attention(net, rows):
    """Return the weights of the cross-attention in the last decoder block, (N, heads, S, T)."""
    given = F.pad(answers[True][rows][:, :-1], (1, 0), value=START)
    with torch.no_grad():
        net(sources[rows], given)
    return net.decoder[-1].cross_attention.weights


def draw_maps(axes, maps, across, down, ylabel):
    """Draw attention weights head by head, keys ``across`` and queries ``down``; return the last picture."""
    for head, (axis, weights) in enumerate(zip(axes, maps, strict=True), 1):
        picture = axis.imshow(weights[: len(down), : len(across)], cmap="viridis", vmin=0, vmax=1)
        axis.set_xticks(range(len(across)), across)
        axis.set_yticks(range(len(down)), down if head == 1 else [""] * len(down))
        axis.set_title(f"head {head}", fontsize=10)
    axes[0].set_ylabel(ylabel, fontsize=9)
    return picture


figure, axes = plt.subplots(3, 4, figsize=(9.5, 6.6), layout="constrained")
shown = next(
    row for row in test_rows.tolist() if problems[row][0] > 30 and problems[row][0] % 10 + problems[row][2] % 10 > 9
)
a, sign, b = problems[shown]
written = answer_of(a, sign, b, True)
across = list(f"{a}{sign}{b}")
draw_maps(axes[0], cross_attention(net, torch.tensor([shown]))[0], across, [*written, "end"], f"{a}{sign}{b}\nwrites")
for line, sign in zip(axes[1:], "+-", strict=True):
    rows = [row for row in test_rows.tolist() if problems[row][1] == sign and min(problems[row][::2]) > 9]
    is_written = (answers[True][rows] != PAD)[:, None, :, None]  # behind the end token nothing is
    mean = (cross_attention(net, torch.tensor(rows)) * is_written).sum(dim=0) / is_written.sum(dim=0)
    name = "additions" if sign == "+" else "subtractions"
    picture = draw_maps(
        line, mean, ["tens", "units", sign, "tens", "units"], ["1st", "2nd", "3rd", "4th"], f"mean of {name}\nwrites"
    )
    for axis in line:
        axis.tick_params(axis="x", labelrotation=60)
figure.colorbar(picture, ax=axes, label="attention weight", shrink=0.6)
plt.show()

# %% [markdown]
# ## Where to read more
#
# - Ashish Vaswani and others, *Attention is all you need*, 2017, arXiv:1706.03762: the Transformer; $\sqrt D$ is in
#   section 3.2.1, sines and cosines in 3.5.
# - Dzmitry Bahdanau, Kyunghyun Cho and Yoshua Bengio, *Neural machine translation by jointly learning to align and
#   translate*, 2014, arXiv:1409.0473: attention, before it was all you need.
# - Jimmy Lei Ba, Jamie Ryan Kiros and Geoffrey Hinton, *Layer normalization*, 2016, arXiv:1607.06450.
# - Ruibin Xiong and others, *On layer normalization in the Transformer architecture*, 2020, arXiv:2002.04745: pre-norm,
#   post-norm, and why the latter needs a warm-up.
# - Tri Dao and others, *FlashAttention: fast and memory-efficient exact attention with IO-awareness*, 2022,
#   arXiv:2205.14135: how not to store $P$, question 1 in full.
# - Nayoung Lee and others, *Teaching arithmetic to small Transformers*, 2023, arXiv:2307.03381: numbers written
#   backwards, among other things.
# - Sarthak Jain and Byron Wallace, *Attention is not explanation*, 2019, arXiv:1902.10186: read it before you trust a
#   picture like the last one.

# %%
check.summary()
