# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Image captioning
#
# A convolutional net turns a picture into features. A recurrent net turns a state into words. Put one behind the other,
# and a picture becomes a sentence. The interesting part is the seam: how does the picture get into the words? Squeezed
# into a single vector at the start, or with a fresh look before every word? In this notebook you will
#
# - turn captions into numbers and back, with a **vocabulary** of your own;
# - write **attention**, forward and backward, and put it into an LSTM;
# - assemble a **captioning net** with three kinds of recurrence, and go back through all of it by hand, down to the
#   features of the picture;
# - let it write, **greedily** and with **beam search**, and see in pictures what it looks at for every word.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $F$ | features of a picture, one vector for each of $L$ places | $(N, L, D)$ |
# | $A$ | the places as the recurrent net sees them | $(N, L, H)$ |
# | $x_t$ | embedding of the word that goes in at step $t$ | $(N, E)$ |
# | $h_t, c_t$ | hidden state and cell state after step $t$ | $(N, H)$ each |
# | $\alpha_t$ | attention weights: how much step $t$ looks at each place | $(N, L)$ |
# | $z_t$ | the context: what step $t$ sees | $(N, H)$ |
# | $W_x, W_h, W_a$ | LSTM weights for word, state and context; gates i, f, o, g | $(E, 4H)$, $(H, 4H)$, $(H, 4H)$ |
# | $b$ | bias of the LSTM, its gates in the same order | $(4H,)$ |
# | $s_t$ | scores of the $V$ words | $(N, V)$ |
# | $y_t$ | the right word after step $t$ | $(N,)$ |
#
# A feature map of shape $(N, D, H', W')$ becomes $F$ with $L = H' W'$ by `flatten(2).transpose(1, 2)`.

# %% tags=["setup"]
import re
from collections import Counter

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import count_right_attributes, load_captions, scenes
from dlcvkit.data.scene_painting import COLOURS as COLOUR_NAMES
from dlcvkit.data.scene_painting import SHAPES
from dlcvkit.frozen import load_frozen
from dlcvkit.plotting import COLOURS, show_images
from dlcvkit.sequences import (
    lstm_backward,
    lstm_forward,
    lstm_step_backward,
    lstm_step_forward,
    rnn_backward,
    rnn_forward,
    rnn_step_forward,
    temporal_affine_backward,
    temporal_affine_forward,
    temporal_softmax_loss,
    word_embedding_backward,
    word_embedding_forward,
)
from dlcvkit.settings import is_fast

PAD, START, END, UNK = range(4)
SPECIAL = ["<pad>", "<start>", "<end>", "<unk>"]


def split_words(caption):
    """Return the words of a caption: lower case, without punctuation."""
    return re.findall(r"[a-z0-9']+", caption.lower())


# %% [markdown]
# ## 1. The pictures
#
# With COCO 2017 downloaded (`./data_download.sh coco-annotations coco-val`), this notebook works on photographs that
# people have described. Without it, on drawn **scenes**: two objects, each with a size, a colour and a shape, and where
# one is relative to the other. They look like toys, and they are a hard test. Six colours, six shapes, two sizes and
# four relations make some twenty thousand descriptions, so most new pictures (70 %, measured) have no caption that was
# ever seen in training: learning sentences by heart does not help.
#
# Every scene has two right captions, as either object can be named first. We train on the customary one, which names
# the larger object first (of equally large ones, that which is above or left of the other).

# %% tags=["demo"]
frozen = load_frozen()
photograph_size = max(frozen.image_size, 64)
data = load_captions(400 if is_fast() else 4000, 100 if is_fast() else 500, photograph_size=photograph_size)
print(data.note)
for caption in data.captions_train[0]:
    print(" ", caption)
show_images(
    data.x_train[:10],
    ["\n".join(re.findall(r".{1,22}(?:\s|$)", captions[0]))[:75] for captions in data.captions_train[:10]],
    columns=5,
    size=1.9,
)

# %% [markdown]
# ## 2. Words as numbers
#
# A net works on numbers, so each word gets one: its place in a list, the **vocabulary**. Four entries are special and
# always come first: `<pad>` (0) fills rows up so that captions of different lengths fit in one tensor, `<start>` (1) is
# what the net is fed before the first word, `<end>` (2) is how it says that it is done, and `<unk>` (3) stands for any
# word that is not in the vocabulary. Rare words are left to `<unk>`: from three examples little can be learned, but
# each word costs a row of the embedding and a column of the scores.
#
# `split_words` above takes a caption apart.


# %% exercise="a4/build_vocabulary"
def build_vocabulary(captions, min_count=1):
    """Collect the words of captions.

    Args:
        captions: List of texts; not modified.
        min_count: How often a word has to occur, over all captions, to get a number of its own; at least 1.

    Returns:
        New list of words, ``SPECIAL`` stays as it is: its four first, then all words, as ``split_words`` gives them,
        that occur at least ``min_count`` times; the most frequent first, equally frequent ones in alphabetical order.
    """
    ### BEGIN SOLUTION
    counts = Counter(word for caption in captions for word in split_words(caption))
    kept = [word for word in counts if counts[word] >= min_count]
    return SPECIAL + sorted(kept, key=lambda word: (-counts[word], word))
    ### END SOLUTION


# %% check="a4/build_vocabulary"
check("a4/build_vocabulary", build_vocabulary)


# %% exercise="a4/encode_captions"
def encode_captions(captions, vocabulary, length):
    """Turn captions into rows of numbers.

    Args:
        captions: List of N texts, at least one; one without any words is a caption too.
        vocabulary: List of words, the four of ``SPECIAL`` first.
        length: Numbers per row, T; at least 2.

    Returns:
        Shape (N, T), int64. Each row is ``<start>``, the caption's words as ``split_words`` gives them, ``<end>``, and
        ``<pad>`` up to the end of the row. Words that are not in the vocabulary become ``<unk>``. If a caption is too
        long for its row, its last words are left out; ``<end>`` is not.
    """
    ### BEGIN SOLUTION
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokens = torch.full((len(captions), length), PAD)
    for row, caption in zip(tokens, captions, strict=True):
        words = [numbers.get(word, UNK) for word in split_words(caption)][: length - 2]
        row[: len(words) + 2] = torch.tensor([START, *words, END])
    return tokens
    ### END SOLUTION


# %% check="a4/encode_captions"
check("a4/encode_captions", encode_captions)


# %% exercise="a4/decode_captions"
def decode_captions(tokens, vocabulary):
    """Turn rows of numbers into captions.

    Args:
        tokens: Shape (N, T), int64, N and T at least 1; not modified. A row need not begin with ``<start>``, and need
            not have an ``<end>``.
        vocabulary: List of words, the four of ``SPECIAL`` first.

    Returns:
        List of N texts: the words up to the first ``<end>``, or of the whole row if there is none, with one blank in
        between. ``<start>`` and ``<pad>`` are left out wherever they stand; ``<unk>`` is kept.
    """
    ### BEGIN SOLUTION
    captions = []
    for row in tokens.tolist():
        if END in row:
            row = row[: row.index(END)]
        captions.append(" ".join(vocabulary[token] for token in row if token not in (PAD, START)))
    return captions
    ### END SOLUTION


# %% check="a4/decode_captions"
check("a4/decode_captions", decode_captions)

# %% [markdown]
# ## 3. Looking: attention
#
# *A large red square left of a small blue ring.* While it writes "blue", a net need not know anything about the square.
# What it needs is the colour of one small thing, somewhere. **Attention** lets a state $h$, the *query*, pick: it is
# compared with every place, and what comes back is a mean of the places, weighted by how well they fit:
#
# $$\underbrace{e_l}_{(N,)} = \frac{1}{\sqrt{H}}\, h \cdot A_l , \qquad
# \underbrace{\alpha}_{(N, L)} = \operatorname{softmax}(e) \text{ over the places}, \qquad
# \underbrace{z}_{(N, H)} = \sum_l \alpha_l A_l .$$
#
# Why the root? If the entries of $h$ and $A_l$ are independent with mean 0 and variance 1, their product sums $H$ terms
# and has variance $H$. Divided by $\sqrt H$ it has variance 1 for every $H$, and the softmax starts out soft. Without,
# it would for large $H$ be nearly one-hot at the start, and pass hardly any gradient on.
#
# **Back.** Every place is used twice: as a *key* in the scores and as a *value* in the sum. Both send a gradient back.
# With $\mathrm{d}z$ given,
#
# $$\mathrm{d}\alpha_l = A_l \cdot \mathrm{d}z , \qquad
# \mathrm{d}e_l = \alpha_l \Bigl( \mathrm{d}\alpha_l - \sum_m \alpha_m \, \mathrm{d}\alpha_m \Bigr) ,$$
#
# where the second is the derivative of the softmax: it compares each place with the weighted mean of all, so the
# $\mathrm{d}e_l$ of a picture add up to 0. What $\mathrm{d}h$ and the two parts of $\mathrm{d}A_l$ are is for you to
# find: $e_l$ is a product of $h$ and $A_l$, $z$ a product of $\alpha_l$ and $A_l$.
#
# Scores of 1,000 must not overflow: adding the same number to all scores of a picture changes nothing in the softmax.
# Write both functions by hand: torch's own softmax and autograd are not allowed in them.


# %% exercise="a4/dot_product_attention"
def dot_product_attention_forward(h, places):
    """Let states look at places.

    Args:
        h: Queries, shape (N, H), floating point, one per picture; not modified.
        places: Keys and values, shape (N, L, H); not modified.

    Returns:
        context: Weighted means of the places, shape (N, H).
        weights: Softmax over the places of the dot products, divided by the root of H; shape (N, L). Finite for
            scores of any size.
        cache: What backward needs.
    """
    ### BEGIN SOLUTION
    scale = h.shape[1] ** -0.5
    scores = torch.einsum("nlh,nh->nl", places, h) * scale
    raised = (scores - scores.amax(dim=1, keepdim=True)).exp()
    weights = raised / raised.sum(dim=1, keepdim=True)
    context = torch.einsum("nl,nlh->nh", weights, places)
    return context, weights, (h, places, weights, scale)
    ### END SOLUTION


# %% exercise="a4/dot_product_attention"
def dot_product_attention_backward(dcontext, cache):
    """Go back from the context to queries and places.

    Args:
        dcontext: Gradient of the context, shape (N, H); not modified. The weights have no gradient of their own.
        cache: From forward.

    Returns:
        dh: Shape (N, H).
        dplaces: Shape (N, L, H).
    """
    ### BEGIN SOLUTION
    h, places, weights, scale = cache
    dweights = torch.einsum("nlh,nh->nl", places, dcontext)
    dscores = weights * (dweights - (weights * dweights).sum(dim=1, keepdim=True)) * scale
    dh = torch.einsum("nl,nlh->nh", dscores, places)
    dplaces = weights[:, :, None] * dcontext[:, None, :] + dscores[:, :, None] * h[:, None, :]
    return dh, dplaces
    ### END SOLUTION


# %% check="a4/dot_product_attention"
check("a4/dot_product_attention", dot_product_attention_forward, dot_product_attention_backward)

# %% [markdown]
# How picky is it? Below, a random query looks at 25 random places, with vectors of growing length $H$. With the root
# the largest weight hardly depends on $H$. Without, one place soon takes all.

# %% tags=["demo"]
lengths = [2, 4, 8, 16, 32, 64, 128, 256, 512]
largest = {"divided by √H": [], "not divided": []}
for H in lengths:
    generator = torch.Generator().manual_seed(H)
    h, places = torch.randn(200, H, generator=generator), torch.randn(200, 25, H, generator=generator)
    largest["divided by √H"].append(dot_product_attention_forward(h, places)[1].amax(dim=1).mean())
    largest["not divided"].append(dot_product_attention_forward(h * H**0.5, places)[1].amax(dim=1).mean())
figure, axis = plt.subplots(figsize=(5.4, 2.8), layout="constrained")
for colour, (name, values) in zip(COLOURS, largest.items(), strict=False):
    axis.semilogx(lengths, values, color=colour, marker="o", label=name, base=2)
axis.axhline(1 / 25, color="grey", ls="--", lw=1, label="all places alike")
axis.set_xlabel("H")
axis.set_ylabel("largest of 25 weights, mean")
axis.set_ylim(0, 1)
axis.grid(alpha=0.3)
axis.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# ## 4. An LSTM that looks before it speaks
#
# In each step the *previous* state asks, and what comes back goes in beside the word:
#
# $$z_t, \alpha_t = \operatorname{attention}(h_{t-1}, A), \qquad
# (h_t, c_t) = \operatorname{LSTM}\bigl(x_t W_x + z_t W_a + h_{t-1} W_h + b,\; c_{t-1}\bigr), \qquad c_0 = 0 .$$
#
# You wrote the step of an LSTM in an earlier notebook. Here it comes ready-made, as a pair:
#
# - `lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b)` returns `h, c, cache`;
# - `lstm_step_backward(dh, dc, cache)` returns `dx, dprev_h, dprev_c, dWx, dWh, db`.
#
# It knows nothing of a third input. It does not have to: $x_t W_x + z_t W_a$ is one product, of $[x_t, z_t]$ of shape
# $(N, E + H)$ and of $W_x$ with $W_a$ below it, $(E + H, 4H)$. So hand it the two put together, and take the gradients
# apart.
#
# **Back through time.** Three ways lead from $h_{t-1}$ on: into the output of its own step, into the next step as the
# previous state, and into the next look as the query. All three gradients add up. So do those of $A$ and of the
# weights, which every step uses.


# %% exercise="a4/attention_lstm"
def attention_lstm_forward(x, h0, places, Wx, Wh, Wa, b):
    """Run an LSTM that looks at a picture before each step.

    Args:
        x: What goes in, shape (N, T, E), T at least 1; like all others not modified.
        h0: First hidden state, shape (N, H); the first cell state is 0.
        places: Shape (N, L, H).
        Wx: Weights of what goes in, shape (E, 4H), gates in the order i, f, o, g.
        Wh: Weights of the previous state, shape (H, 4H).
        Wa: Weights of the context, shape (H, 4H).
        b: Bias, shape (4H,).

    Returns:
        h: All hidden states, shape (N, T, H); without h0.
        weights: Attention weights of the look before each step, shape (N, T, L).
        cache: What backward needs.
    """
    ### BEGIN SOLUTION
    W = torch.cat([Wx, Wa])
    state, cell = h0, torch.zeros_like(h0)
    states, looks, caches = [], [], []
    for word in x.unbind(dim=1):
        context, weights, look_cache = dot_product_attention_forward(state, places)
        state, cell, step_cache = lstm_step_forward(torch.cat([word, context], dim=1), state, cell, W, Wh, b)
        states.append(state)
        looks.append(weights)
        caches.append((look_cache, step_cache))
    return torch.stack(states, dim=1), torch.stack(looks, dim=1), (caches, x.shape[2], places.shape)
    ### END SOLUTION


# %% exercise="a4/attention_lstm"
def attention_lstm_backward(dh, cache):
    """Go back through all steps.

    Args:
        dh: Gradient of all hidden states, shape (N, T, H); not modified.
        cache: From forward.

    Returns:
        dx (N, T, E), dh0 (N, H), dplaces (N, L, H), dWx (E, 4H), dWh (H, 4H), dWa (H, 4H), db (4H,).
    """
    ### BEGIN SOLUTION
    caches, E, shape = cache
    dplaces = dh.new_zeros(shape)
    dstate = torch.zeros_like(dh[:, 0])
    dcell = torch.zeros_like(dstate)
    dx, sums = [], [0, 0, 0]
    for t in reversed(range(len(caches))):
        look_cache, step_cache = caches[t]
        dboth, dstate, dcell, *dweights = lstm_step_backward(dh[:, t] + dstate, dcell, step_cache)
        dquery, dkeys = dot_product_attention_backward(dboth[:, E:], look_cache)
        dstate = dstate + dquery
        dplaces += dkeys
        dx.insert(0, dboth[:, :E])
        sums = [total + new for total, new in zip(sums, dweights, strict=True)]
    dW, dWh, db = sums
    return torch.stack(dx, dim=1), dstate, dplaces, dW[:E], dWh, dW[E:], db
    ### END SOLUTION


# %% check="a4/attention_lstm"
check("a4/attention_lstm", attention_lstm_forward, attention_lstm_backward)

# %% [markdown]
# ## 5. The net
#
# Everything is there. A picture's features are brought to the size of the states, their mean starts the recurrence, and
# each step's state gives scores of the next word:
#
# $$\underbrace{A}_{(N, L, H)} = F W_{\text{proj}} + b_{\text{proj}}, \quad
# \underbrace{h_0}_{(N, H)} = \frac1L \sum_l A_l, \quad
# \underbrace{h}_{(N, T-1, H)} = \text{recurrence}(x, h_0, \dots), \quad
# \underbrace{s}_{(N, T-1, V)} = h W_{\text{vocab}} + b_{\text{vocab}} .$$
#
# Three recurrences are to choose from. `"rnn"` and `"lstm"` see the picture in $h_0$ and never again; `"attention"`
# looks at $A$ in every step as well.
#
# **What goes in, what should come out.** A row of $T$ tokens is `<start> a red ring <end> <pad> ...`. In go the first
# $T - 1$, out should come the last $T - 1$: after `<start>` comes "a", after "ring" comes `<end>`. In training the net
# is fed the *right* words whatever it would have said itself; this is called **teacher forcing**.
#
# **The loss** is that of the RNN notebook: cross-entropy, **summed over the words of a caption and averaged over the
# captions**. Steps whose right word is `<pad>` do not count; `<end>` does. So at the start it is about $\log V$ per
# word.
#
# **Gradients** are wanted for all weights, *and for the features*. With them, whoever made the features can learn as
# well: `features.backward(dfeatures)` is all that a convolutional net needs.
#
# Ready-made pairs, each with its backward:
#
# | forward | returns | backward | returns |
# | --- | --- | --- | --- |
# | `temporal_affine_forward(x, w, b)` | `out, cache` | `temporal_affine_backward(dout, cache)` | `dx, dw, db` |
# | `word_embedding_forward(words, w)` | `out, cache` | `word_embedding_backward(dout, cache)` | `dw` |
# | `rnn_forward(x, h0, Wx, Wh, b)` | `h, cache` | `rnn_backward(dh, cache)` | `dx, dh0, dWx, dWh, db` |
# | `lstm_forward(x, h0, Wx, Wh, b)`, $c_0 = 0$ | `h, cache` | `lstm_backward(dh, cache)` | `dx, dh0, dWx, dWh, db` |
# | `temporal_softmax_loss(scores, y, mask)` | `loss, dscores` | | |
#
# All arguments go by position. `temporal_affine` takes `x` (N, T, D), `w` (D, M) and `b` (M,); its middle axis need not
# be time. `words` is (N, T), int64, and its `w` (V, E). `mask` is bool, (N, T-1), and True where a step counts.


# %% exercise="a4/captioning_rnn"
class CaptioningRNN:
    """A recurrent net that describes pictures.

    Attributes:
        cell_type: ``"rnn"``, ``"lstm"`` or ``"attention"``.
        params: Dict of weights: ``W_proj`` (D, H), ``b_proj`` (H,), ``W_embed`` (V, E), ``Wx`` (E, G), ``Wh`` (H, G),
            ``b`` (G,), ``W_vocab`` (H, V), ``b_vocab`` (V,), and for attention ``Wa`` (H, G). G is H for the rnn,
            else 4H.
    """

    def __init__(self, cell_type, vocab_size, feature_dim, embed_dim, hidden_dim, seed=0):
        """Draw the first weights; this method is complete.

        Args:
            cell_type: ``"rnn"``, ``"lstm"`` or ``"attention"``.
            vocab_size: Words of the vocabulary, V.
            feature_dim: Features of a place, D.
            embed_dim: Length of an embedded word, E.
            hidden_dim: Length of a state, H.
            seed: Seed of the weights.
        """
        V, D, E, H = vocab_size, feature_dim, embed_dim, hidden_dim
        G = H if cell_type == "rnn" else 4 * H
        shapes = {"W_proj": (D, H), "W_embed": (V, E), "Wx": (E, G), "Wh": (H, G), "W_vocab": (H, V)}
        if cell_type == "attention":
            shapes["Wa"] = (H, G)
        generator = torch.Generator().manual_seed(seed)
        self.cell_type = cell_type
        self.params = {name: torch.randn(s, generator=generator) * s[0] ** -0.5 for name, s in shapes.items()}
        self.params |= {"b_proj": torch.zeros(H), "b": torch.zeros(G), "b_vocab": torch.zeros(V)}

    def loss(self, features, captions):
        """Compute the loss of captions and all gradients.

        Args:
            features: Shape (N, L, D), floating point; not modified.
            captions: Shape (N, T), int64, T at least 2: ``<start>``, words, ``<end>``, ``<pad>``; not modified.

        Returns:
            loss: Cross-entropy, summed over the steps whose right word is not ``<pad>``, averaged over the N captions;
                0-dimensional.
            grads: Dict with the gradient of every entry of ``params``, under its name.
            dfeatures: Gradient of the features, shape (N, L, D).
        """
        ### BEGIN SOLUTION
        params, grads = self.params, {}
        recurrent = params["Wx"], params["Wh"], params["b"]
        words, y = captions[:, :-1], captions[:, 1:]

        places, places_cache = temporal_affine_forward(features, params["W_proj"], params["b_proj"])
        h0 = places.mean(dim=1)
        x, x_cache = word_embedding_forward(words, params["W_embed"])
        if self.cell_type == "rnn":
            h, cache = rnn_forward(x, h0, *recurrent)
        elif self.cell_type == "lstm":
            h, cache = lstm_forward(x, h0, *recurrent)
        else:
            h, _, cache = attention_lstm_forward(x, h0, places, *recurrent[:2], params["Wa"], params["b"])
        scores, scores_cache = temporal_affine_forward(h, params["W_vocab"], params["b_vocab"])
        loss, dscores = temporal_softmax_loss(scores, y, y != PAD)

        dh, grads["W_vocab"], grads["b_vocab"] = temporal_affine_backward(dscores, scores_cache)
        dplaces = torch.zeros_like(places)
        if self.cell_type == "rnn":
            dx, dh0, grads["Wx"], grads["Wh"], grads["b"] = rnn_backward(dh, cache)
        elif self.cell_type == "lstm":
            dx, dh0, grads["Wx"], grads["Wh"], grads["b"] = lstm_backward(dh, cache)
        else:
            dx, dh0, dplaces, *rest = attention_lstm_backward(dh, cache)
            grads["Wx"], grads["Wh"], grads["Wa"], grads["b"] = rest
        grads["W_embed"] = word_embedding_backward(dx, x_cache)
        dplaces = dplaces + dh0[:, None, :] / places.shape[1]
        dfeatures, grads["W_proj"], grads["b_proj"] = temporal_affine_backward(dplaces, places_cache)
        return loss, grads, dfeatures
        ### END SOLUTION


# %% check="a4/captioning_rnn"
check("a4/captioning_rnn", CaptioningRNN)

# %% [markdown]
# ## 6. Features, and the first test: 50 captions by heart
#
# Where do the features come from? From a net that has learned to see elsewhere, and is **frozen**: it is applied once
# to all pictures, and its answers are kept. For photographs that is SqueezeNet if it is downloaded
# (`./data_download.sh squeezenet`), else the kit's own small CNN. For scenes we train a small net first, for a task of
# its own: say for each of 6×6 places whether an object is there, and of which size, colour and shape. It sees no
# caption and no relation. Its last features, 64 numbers a place, are what the captioner gets, and beside them the
# position of the place, down and across: a convolution does the same everywhere, so its features alone say *what*, and
# not *where*.
#
# Expect this, on new scenes and after 9 s of processor time: the right size and colour at more than 99 % of the places
# with an object on them, and the right shape at 94 %.

# %% tags=["demo"]
PLACES = 6


def make_eye():
    """Return a convolutional net that turns 48×48 pixels into 6×6 places of 64 features, and a layer on top of it."""
    layers, before = [], 3
    for width, stride in ((24, 2), (48, 2), (64, 2), (64, 1)):
        layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers), nn.Conv2d(before, 1 + 2 + len(COLOUR_NAMES) + len(SHAPES), 1)


def train_eye(steps, bar):
    """Train on scenes of their own: is there an object at a place, and what is it?

    Args:
        steps: Batches of 64 scenes.
        bar: Progress bar; moved on by one for every step.

    Returns:
        The trained net, and its shares of right sizes, colours and shapes at places of new scenes that show an object.
    """
    torch.manual_seed(0)
    eye, head = make_eye()
    train, fresh = scenes(400 if is_fast() else 4000, seed=100), scenes(200, seed=101)
    optimiser = torch.optim.Adam([*eye.parameters(), *head.parameters()], lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.005, total_steps=steps, pct_start=0.2)
    parts = (slice(1, 3), slice(3, 3 + len(COLOUR_NAMES)), slice(3 + len(COLOUR_NAMES), None))

    def losses(drawn, rows):
        share, which = F.avg_pool2d(drawn.masks[rows].float(), 48 // PLACES).max(dim=1)
        is_there = share > 0.25
        kinds = drawn.objects[rows][torch.arange(len(which))[:, None, None], which][is_there]
        said = head(eye(drawn.images[rows] - 0.5)).permute(0, 2, 3, 1)
        loss = F.binary_cross_entropy_with_logits(said[..., 0], is_there.float())
        right = []
        for number, part in enumerate(parts):
            scores = said[is_there][:, part]
            loss = loss + F.cross_entropy(scores, kinds[:, number])
            right.append((scores.argmax(dim=1) == kinds[:, number]).float().mean().item())
        return loss, right

    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss, _ = losses(train, torch.randint(len(train.images), (64,), generator=generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        bar.update()
    eye.eval()
    with torch.no_grad():
        return eye, losses(fresh, torch.arange(len(fresh.images)))[1]


def with_positions(maps):
    """Return maps (N, D, H', W') as places (N, H' W', D + 2), the last two being the position, from -1.5 to 1.5."""
    down, across = (torch.linspace(-1.5, 1.5, size) for size in maps.shape[2:])
    grid = torch.stack(torch.meshgrid(down, across, indexing="ij")).expand(len(maps), -1, -1, -1)
    return torch.cat([maps, grid], dim=1).flatten(2).transpose(1, 2)


if data.name == "scenes":
    with tqdm(total=20 if is_fast() else 250, desc="learning to see") as bar:
        eye, right = train_eye(bar.total, bar)
    print(
        "right of new scenes:",
        *(f"{name} {r:.1%} " for name, r in zip(("size", "colour", "shape"), right, strict=True)),
    )


def extract(images):
    """Return the frozen features of pictures, maps of shape (N, D, H', W')."""
    maps = []
    with torch.no_grad():
        for part in tqdm(images.split(100), desc="features", leave=False):
            if data.name == "scenes":
                maps.append(eye(part - 0.5))
            else:
                maps.append(F.adaptive_avg_pool2d(frozen.activations(part)[-1], 8))
    return torch.cat(maps)


maps_train, maps_val = extract(data.x_train), extract(data.x_val)
mean, std = maps_train.mean(dim=(0, 2, 3), keepdim=True), maps_train.std(dim=(0, 2, 3), keepdim=True) + 1e-3
features_train, features_val = (with_positions((maps - mean) / std) for maps in (maps_train, maps_val))
grid_shape = maps_train.shape[2:]
print(f"features {tuple(features_train.shape)}")

# %% [markdown]
# Now the test that every new net should pass first: can it learn fifty captions by heart? If not, something is broken,
# and no amount of data would mend it. The loss is the graded one, the sum over the words of a caption, averaged over
# the captions; a caption of a scene has about ten words. It starts near $11 \log V$, as ten words and `<end>` are
# predicted. Expect all three below 0.1; measured on scenes after 300 steps: 0.018 for the rnn, 0.024 for the lstm,
# 0.013 with attention.

# %% tags=["demo"]
vocabulary = build_vocabulary(
    [caption for captions in data.captions_train for caption in captions], 1 if data.name == "scenes" else 5
)
longest = 16 if data.name == "scenes" else 20
first_captions = encode_captions([captions[0] for captions in data.captions_train], vocabulary, longest)
first_captions = first_captions[:, : int((first_captions != PAD).sum(dim=1).max())]
print(f"{len(vocabulary)} words; the most frequent: {', '.join(vocabulary[4:16])}")


def train_captioner(net, features, captions, *, steps, lr, batch_size=64, bar=None):
    """Train with Adam, clipped gradients and a learning rate that rises and falls once.

    Args:
        net: A ``CaptioningRNN``; its weights are modified.
        features: Shape (N, L, D).
        captions: Shape (N, T), int64.
        steps: Number of batches.
        lr: The largest learning rate.
        batch_size: Pictures in a batch.
        bar: Progress bar, or None.

    Returns:
        List of the loss of every step.
    """
    weights = [w.requires_grad_() for w in net.params.values()]
    optimiser = torch.optim.Adam(weights, lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.15)
    generator, losses = torch.Generator().manual_seed(0), []
    while len(losses) < steps:
        for rows in torch.randperm(len(features), generator=generator).split(batch_size)[: steps - len(losses)]:
            with torch.no_grad():
                loss, grads, _ = net.loss(features[rows], captions[rows])
            for name, w in net.params.items():
                w.grad = grads[name]
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            if bar is not None:
                bar.update()
                bar.set_postfix(loss=f"{sum(losses[-20:]) / len(losses[-20:]):.3f}", refresh=False)
    return losses


steps = 20 if is_fast() else 300
fifty = features_train[:50], first_captions[:50]
figure, axis = plt.subplots(figsize=(5.4, 2.8), layout="constrained")
with tqdm(total=3 * steps, desc="fifty captions") as bar:
    for colour, cell_type in zip(COLOURS, ("rnn", "lstm", "attention"), strict=False):
        net = CaptioningRNN(cell_type, len(vocabulary), features_train.shape[2], 32, 96)
        losses = train_captioner(net, *fifty, steps=steps, lr=0.01, batch_size=50, bar=bar)
        axis.semilogy(losses, color=colour, label=cell_type)
        print(f"{cell_type:10} loss of a caption: first {losses[0]:.1f}, last {losses[-1]:.3f}")
axis.axhline(0.1, color="grey", lw=1, ls="--")
axis.set_xlabel("step")
axis.set_ylabel("loss of a caption")
axis.grid(alpha=0.3)
axis.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# ## 7. Writing
#
# To describe a new picture there are no right words to feed. The net is fed its own: `<start>`, then the word it found
# most likely, and so on until it says `<end>`. That takes two things, which the search in section 8 will use too:
#
# - `start(features)` gives the **state** before the first word;
# - `step(state, tokens)` feeds one word per picture, and gives the log-probabilities of the next word and the state
#   after.
#
# A state is a tuple of tensors. What is in it is up to you, with one condition: **row $n$ of each tensor belongs to
# picture $n$**, so that rows can be picked, repeated and exchanged.
#
# `Captioner` inherits weights and loss from your `CaptioningRNN`, and adds the three methods. Ready-made steps:
# `rnn_step_forward(x, prev_h, Wx, Wh, b)` returns `h, cache`, and `lstm_step_forward` you know.


# %% exercise="a4/captioner"
class Captioner(CaptioningRNN):
    """A captioning net that can be asked."""

    def start(self, features):
        """Return the state before the first word.

        Args:
            features: Shape (N, L, D); not modified.

        Returns:
            Tuple of tensors whose first axis is N; row n belongs to picture n.
        """
        ### BEGIN SOLUTION
        places = features @ self.params["W_proj"] + self.params["b_proj"]
        h = places.mean(dim=1)
        return h, torch.zeros_like(h), places
        ### END SOLUTION

    def step(self, state, tokens):
        """Feed one word per picture.

        Args:
            state: From ``start`` or from ``step``, perhaps with other rows or rows in another order; not modified.
            tokens: Words to feed, shape (N,), int64; not modified.

        Returns:
            log_probs: Logarithms of the probabilities of the next word, shape (N, V).
            state: The state afterwards, of the same form.
        """
        ### BEGIN SOLUTION
        params = self.params
        h, c, places = state
        x = params["W_embed"][tokens]
        if self.cell_type == "rnn":
            h, _ = rnn_step_forward(x, h, params["Wx"], params["Wh"], params["b"])
        elif self.cell_type == "lstm":
            h, c, _ = lstm_step_forward(x, h, c, params["Wx"], params["Wh"], params["b"])
        else:
            context, _, _ = dot_product_attention_forward(h, places)
            both, W = torch.cat([x, context], dim=1), torch.cat([params["Wx"], params["Wa"]])
            h, c, _ = lstm_step_forward(both, h, c, W, params["Wh"], params["b"])
        scores = h @ params["W_vocab"] + params["b_vocab"]
        return scores.log_softmax(dim=1), (h, c, places)
        ### END SOLUTION

    def sample(self, features, max_length):
        """Describe pictures greedily: the most likely of all V words in every step, ``<pad>`` and ``<start>`` included.

        Args:
            features: Shape (N, L, D), N at least 1; not modified.
            max_length: Steps, at least 1.

        Returns:
            tokens: Shape (N, max_length), int64, without the ``<start>`` that is fed first. Only ``<end>`` ends a
                caption: behind the first one of a row there is nothing but ``<pad>``. A row may have none.
            weights: For attention, the weights of the look before each of these words, shape (N, max_length, L), and 0
                for what follows an ``<end>``; for the other cell types None.
        """
        ### BEGIN SOLUTION
        state = self.start(features)
        words = torch.full((len(features),), START, device=features.device)
        is_over = words == END
        tokens, looks = [], []
        for _ in range(max_length):
            if self.cell_type == "attention":
                _, weights, _ = dot_product_attention_forward(state[0], state[2])
                looks.append(weights.masked_fill(is_over[:, None], 0))
            log_probs, state = self.step(state, words)
            words = log_probs.argmax(dim=1).masked_fill(is_over, PAD)
            is_over = is_over | (words == END)
            tokens.append(words)
        return torch.stack(tokens, dim=1), torch.stack(looks, dim=1) if looks else None
        ### END SOLUTION


# %% check="a4/captioner"
check("a4/captioner", Captioner)

# %% [markdown]
# ### All scenes, three nets
#
# How good is a caption? For scenes there is an honest answer. Every right caption of two objects says seven things: two
# sizes, two colours, two shapes, one relation. **Attribute accuracy** is the share of these that a new picture's
# caption has right, compared in order with the right caption that fits best. Always saying "a large orange ring left of
# a small blue ring", whatever the picture, gets 39 % on new scenes, as sizes are easily guessed.
#
# What to expect, measured on 500 new scenes after 450 steps:
#
# | | rnn | lstm | attention |
# | --- | --- | --- | --- |
# | attributes right | 73.5 % | 76.0 % | 94.6 % |
# | captions with all seven right | 6.8 % | 9.8 % | 72.0 % |
#
# On COCO there are no such attributes. There the cell prints the loss per word of new captions; quality has not been
# measured.

# %% tags=["demo"]
steps = 20 if is_fast() else 450
max_length = first_captions.shape[1]
validation = encode_captions([captions[0] for captions in data.captions_val], vocabulary, max_length)
nets, curves, said = {}, {}, {}
with tqdm(total=3 * steps, desc="captions") as bar:
    for cell_type in ("rnn", "lstm", "attention"):
        net = nets[cell_type] = Captioner(cell_type, len(vocabulary), features_train.shape[2], 32, 96)
        curves[cell_type] = train_captioner(net, features_train, first_captions, steps=steps, lr=0.01, bar=bar)
with torch.no_grad():
    for cell_type, net in nets.items():
        tokens, weights = net.sample(features_val, max_length)
        said[cell_type] = decode_captions(tokens, vocabulary)
        loss = net.loss(features_val, validation)[0] / (validation[:, 1:] != PAD).sum(dim=1).float().mean()
        line = f"{cell_type:10} loss per word of new captions {loss:.3f}"
        if data.name == "scenes":
            found = [count_right_attributes(*pair) for pair in zip(said[cell_type], data.captions_val, strict=True)]
            share = sum(right for right, _ in found) / sum(of for _, of in found)
            line += (
                f"; attributes right {share:.1%}, captions all right {sum(r == n for r, n in found) / len(found):.1%}"
            )
        print(line)
known = {caption for captions in data.captions_train for caption in captions}
is_new = [not known & set(captions) for captions in data.captions_val]
print(f"{sum(is_new) / len(is_new):.0%} of the new pictures have no caption that occurs in training")

figure, axis = plt.subplots(figsize=(5.4, 2.8), layout="constrained")
for colour, (cell_type, losses) in zip(COLOURS, curves.items(), strict=False):
    smooth = torch.tensor(losses).unfold(0, min(20, steps // 4), 1).mean(dim=1)
    axis.plot(smooth, color=colour, label=cell_type)
axis.set_xlabel("step")
axis.set_ylabel("training loss of a caption")
axis.set_ylim(0)
axis.grid(alpha=0.3)
axis.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# The vector $h_0$ has to carry two objects at once: the mean of all places says that there is something red and
# something blue, a ring and a star, but hardly which belongs to which. Attention does not have to remember; it goes and
# looks.
#
# Below are pictures with what the attention net says; for scenes, wrong words are in capitals. Then two captions word
# by word: the picture is faded to white but for where the net looks before it says the word, and shown in full where a
# place has a weight of 0.3 or more. A picture that is pale all over is one that the net looks at everywhere alike,
# which is to say, at nothing in particular.


# %% tags=["demo"]
def mark_wrong(text, right):
    """Return a caption with its wrong words in capitals, compared with the right caption that fits best."""
    said = text.replace("left of", "left_of").replace("right of", "right_of").split()
    options = [caption.replace("left of", "left_of").replace("right of", "right_of").split() for caption in right]
    best = max(options, key=lambda words: sum(a == b for a, b in zip(said, words, strict=False)))
    wanted = best + [""] * len(said)
    words = [word if word == want else word.upper() for word, want in zip(said, wanted, strict=False)]
    words = " ".join(words).replace("_", " ").split()
    middle = (len(words) + 1) // 2
    return " ".join(words[:middle]) + "\n" + " ".join(words[middle:])


number = 6 if is_fast() else 15
if data.name == "scenes":
    captions = [mark_wrong(*pair) for pair in zip(said["attention"], data.captions_val, strict=True)]
else:
    captions = ["\n".join(re.findall(r".{1,24}(?:\s|$)", text)) for text in said["attention"]]
show_images(data.x_val[:number], captions[:number], columns=5, size=1.9)


# %% tags=["demo"]
def draw_looks(image, words, weights, axes):
    """Draw a picture, and for each word where the net looked before it.

    Args:
        image: Shape (3, S, S), in [0, 1].
        words: The words of its caption.
        weights: Attention weights before each word, shape (T, L), T at least the number of words.
        axes: Where to draw, at least one more than there are words; those left over stay blank.
    """
    pixels = image.permute(1, 2, 0)
    axes[0].imshow(pixels, interpolation="nearest")
    for axis, word, look in zip(axes[1:], words, weights, strict=False):
        light = F.interpolate(look.reshape(1, 1, *grid_shape), size=image.shape[1:], mode="bilinear")[0, 0, :, :, None]
        share = (light / 0.3).clamp(0, 1) * 0.9 + 0.1
        axis.imshow(share * pixels + (1 - share), interpolation="nearest")
        axis.set_title(word, fontsize=9, pad=2)
    for axis in axes:
        axis.axis("off")


# Two right captions, as far as there are any.
shown = sorted(range(len(data.x_val)), key=lambda row: said["attention"][row] not in data.captions_val[row])[:2]
with torch.no_grad():
    tokens, weights = nets["attention"].sample(features_val[shown], max_length)
lines = [[vocabulary[token] for token in row if token != PAD] for row in tokens.tolist()]
columns = 7
rows = [-(-(len(words) + 1) // columns) for words in lines]
figure, axes = plt.subplots(sum(rows), columns, figsize=(9.5, 1.5 * sum(rows)), layout="constrained", squeeze=False)
for row, words, look, first, count in zip(shown, lines, weights, (0, rows[0]), rows, strict=True):
    draw_looks(data.x_val[row], words, look, axes[first : first + count].flatten())
plt.show()

# %% [markdown] question="teacher_forcing" points=3
# **Question 1 (3 points).** (a) In training the net is fed the right words, in use its own. What kind of situations
# does it meet in use that it never met in training, and why does the harm grow with the length of the caption? (b) Why
# is teacher forcing used in spite of that? Name two advantages over feeding the net's own words while training. (c) The
# training loss of your attention net is about 0.6 for a caption of some ten words, and still many new captions have a
# wrong word. Exposure bias is one suspect. Name another one that explains the gap, and a measurement that tells the two
# apart.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Beginnings with a mistake in them: after its own wrong word it is in a state that no training
# caption led to (*exposure bias*). Its next word is then less reliable, too, and a mistake is never followed by a
# correction; the chance to have left the known ground grows with each step. (b) The right targets fit the input: after
# a wrong own word the caption's next word may make no sense as a target. Gradients flow through differentiable steps,
# while the choice of a word is not differentiable. All inputs are known beforehand, so that steps need not wait for
# sampled words, and learning is fast and stable from the first step, when own words would be noise. (c) Plain
# overfitting (or features that are not good enough for new pictures): the loss on *new* pictures with the right words
# fed is higher than the training loss (measured: 1.0 against 0.6 for a caption). Measure the word accuracy on new
# pictures with teacher forcing and without: if it is already low with the right words fed, exposure bias is not the
# cause; the difference between the two is what exposure bias costs.
#
# *Rubric.* 1 point: own mistakes lead to unseen states, and they add up. 1 point: two advantages. 1 point: overfitting
# or features, and a comparison on new pictures with and without teacher forcing.
# ### END MARK SCHEME

# %% [markdown] question="attributes_and_bleu" points=3
# **Question 2 (3 points).** BLEU, a common score for captions, counts how many single words, pairs, triples and
# quadruples of neighbouring words a caption shares with the right ones, and marks captions down that are too short. (a)
# A right caption is "a large red ring left of a small blue star". Which of these would you expect BLEU to like best: "a
# large red ring right of a small blue star", "a small blue star right of a large red ring", "a star and a ring"? Which
# are true? (b) Why does attribute accuracy judge them better, and what does *it* not see? Give a caption that it judges
# wrongly, too. (c) Why can it not simply be used for COCO?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) The first is false and differs in one word: nine of ten words, seven of nine pairs and more than
# half of the longer runs are shared, so it gets the highest score of the three (0.66) if the other right caption is not
# among the references. The second is true; as a single reference is given it loses the runs around the relation (0.56;
# with both captions as references it would be perfect). The third is true but says little; not one pair is shared and
# it is short, so it gets nothing. (b) It compares statements instead of runs of words, with every right caption: the
# second gets 7 of 7, the first 6 of 7. All statements weigh the same, though: a swapped relation costs as little as a
# wrong size, and with colours of the two objects exchanged 5 of 7 are counted though both objects are wrong. It knows
# nothing of grammar either, and a true caption that lacks one attribute, so that all later ones are shifted, loses
# nearly everything ("a red ring left of a small blue star" gets 0 of 7, and so does the third). (c) It needs the
# grammar: a list of all that can be said and a parser. In free language the same thing can be said in many ways, and
# people mention different things.
#
# *Rubric.* 1 point: false but similar is liked, true but other is not. 1 point: statements, and one fair weakness with
# a caption. 1 point: no list of attributes or parser for free language.
# ### END MARK SCHEME

# %% [markdown] question="attention_maps" points=3
# **Question 3 (3 points).** Look at the maps of your attention net. (a) Before which words does it look at an object,
# and before which does it not seem to look at anything in particular? Why can it afford that? (b) The bright place is
# often the right one, but each place's features come from a convolutional net whose last layer sees 31×31 of the 48×48
# pixels. What does that mean for a map on which the light is *beside* the object? (c) A classmate says: "The map shows
# *why* the net said blue." Name a reason to doubt it, and an experiment on the picture or on the weights that would
# support or refute the claim.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) (As measured; maps differ from net to net.) It looks at an object mostly before the first words
# about it: the largest weight is 0.45 on average before "a" and 0.3 to 0.5 before a size. Before colour, shape, "left"
# and `<end>` the look is spread (0.1 to 0.2). It can afford that because one look brings everything that is known of a
# place, 64 features and the position; what was seen is remembered in the state, so not every word needs a look of its
# own. And where the word does not depend on the picture ("of"), it needs no look of its own; this net uses the step to
# look ahead to the next object (0.27). (b) A place is not a pixel: its feature knows what is around it, so the light
# can be beside the object while the net "sees" the object. Maps locate features, and that only as finely as 6×6. (c)
# The map shows where the context came from, not what was used of it: the state $h$ carries information from earlier
# looks and from $h_0$, the values may carry several things, and other weights could give the same word. Experiments:
# recolour or cover the object at the bright place and see if the word changes, and the same at dark places; or replace
# the weights by uniform or permuted ones at this step, and see if the probability of "blue" falls.
#
# *Rubric.* 1 point: an observation that fits the student's own maps, and the state as memory or words that do not
# depend on the picture. 1 point: receptive field, coarse grid. 1 point: a reason (state, $h_0$, values) and an
# intervention.
# ### END MARK SCHEME

# %% [markdown]
# ## 8. Searching: beam search
#
# Greedy writing takes the best next word, and that need not begin the best *caption*. The probability of a caption is a
# product,
#
# $$p(w_1, \dots, w_T \mid \text{picture}) = \prod_t p(w_t \mid w_1, \dots, w_{t-1}, \text{picture}),
# \qquad \text{score} = \sum_t \log p(w_t \mid \dots) ,$$
#
# and a word that is likely may lead to where nothing is. To try everything is out of the question: there are $V^T$
# sequences. **Beam search** keeps a handful:
#
# 1. At first there is one beginning, the empty one, with score 0.
# 2. In each step every beginning is continued with every word of the vocabulary. Of all these candidates together the
#    `beam` with the highest scores are kept (all, if there are fewer). Of equal scores, the one that continues the
#    earlier beginning in the list comes first, and of the same beginning's the word with the smaller number. The kept
#    ones, in this order, are the new list.
# 3. Those kept that end with `<end>` are put aside in this order with their score, and are not continued. In the next
#    step again `beam` candidates are kept.
# 4. It is over when no beginning is left, or after `max_length` steps. Whatever has not ended by then is put aside as
#    it is, in the order of the list.
# 5. Of all that was put aside, the highest score wins; of equal ones, what was put aside first.
#
# With a beam of 1 this is greedy writing, word for word. With a beam that has room for *all* beginnings nothing is ever
# lost, and the result is the most likely there is within `max_length` steps. **In between there is no such promise**: a
# beam of 2 can find something *worse* than a beam of 1, because the beginning that greedy writing follows can be pushed
# out by two others that look better for a moment. (Section 9 builds such a case.) `torch.topk` promises no order among
# equals; `torch.sort(..., stable=True)` does.


# %% exercise="a4/beam_search"
def beam_search(step, state, start, end, beam, max_length):
    """Search for the most likely sequence with a beam.

    Args:
        step: ``step(state, tokens) -> (log_probs, state)``: feeds one token to each of B beginnings. ``tokens`` is
            (B,), int64, ``log_probs`` (B, V), the log-probabilities of the next token. B may differ from call to call.
        state: The first state, a tuple of tensors whose first axis is 1; from ``step``, B. Row b belongs to beginning
            b; the rows of a state can be picked with an index tensor. Not modified.
        start: What is fed first, shape (1,), int64; not modified.
        end: The token that ends a sequence, a number.
        beam: Candidates kept per step, at least 1; may be larger than there are.
        max_length: Largest number of tokens, at least 1.

    Returns:
        tokens: The winner, shape (length,), int64; without ``start``, with ``end`` if it has ended.
        score: The sum of its log-probabilities, 0-dimensional.
    """
    ### BEGIN SOLUTION
    tokens = start.new_zeros(1, 0)
    fed, scores, aside = start, None, []
    for _ in range(max_length):
        log_probs, state = step(state, fed)
        totals = log_probs if scores is None else log_probs + scores[:, None]
        ordered, places = totals.flatten().sort(descending=True, stable=True)
        kept, V = places[:beam], log_probs.shape[1]
        parents, fed = kept // V, kept % V
        scores = ordered[:beam]
        tokens = torch.cat([tokens[parents], fed[:, None]], dim=1)
        is_over = fed == end
        aside += zip(scores[is_over], tokens[is_over], strict=True)
        goes_on = ~is_over
        tokens, scores, fed = tokens[goes_on], scores[goes_on], fed[goes_on]
        state = tuple(part[parents[goes_on]] for part in state)
        if len(fed) == 0:
            break
    aside += zip(scores, tokens, strict=True)
    score, best = max(aside, key=lambda found: found[0])
    return best, score
    ### END SOLUTION


# %% check="a4/beam_search"
check("a4/beam_search", beam_search)

# %% [markdown]
# ## 9. What a beam buys
#
# First the case from above, as a tree of probabilities. Greedy writing goes A, x, with 0.16 so far, and there the end
# is certain. A beam of 2 keeps A and B at first; in the second step both continuations of B, 0.175 each, push out that
# of A, 0.16. A beam of 3 has room for all three. Then your net, on 200 new pictures with beams of 1, 3 and 10. Expect a
# disappointment: measured, the mean score goes from -0.460 to -0.459 and no farther, and the attributes from 94.9 % to
# 95.1 % right. Our grammar leaves hardly any choice: where the net is wrong, it has seen wrongly, and no search can
# mend that. A beam pays where many different sentences compete, as in translation or with photographs.

# %% tags=["demo"]
names = ["A", "B", "x", "y", "z", "end"]
tree = {
    "": {"A": 0.4, "B": 0.35, "x": 0.25},
    "A": {"x": 0.4, "y": 0.3, "z": 0.3},
    "B": {"y": 0.5, "z": 0.5},
    "Ax": {"end": 1.0},
}
dead_end = dict.fromkeys("ABxyz", 0.2)


def tree_step(state, tokens):
    """Follow the tree; a state is the two letters before, as numbers (6 for none)."""
    so_far = [[n for n in (*row, t) if n < 6] for row, t in zip(state[0].tolist(), tokens.tolist(), strict=True)]
    rows = [tree.get("".join(names[n] for n in words), dead_end) for words in so_far]
    probabilities = torch.tensor([[row.get(name, 0.0) for name in names] for row in rows], dtype=torch.float64)
    return probabilities.clamp(min=1e-9).log(), (torch.stack([state[0][:, 1], tokens], dim=1),)


for beam in (1, 2, 3):
    first = (torch.full((1, 2), 6),)
    tokens, score = beam_search(tree_step, first, torch.tensor([6]), end=5, beam=beam, max_length=4)
    print(f"beam {beam}: {' '.join(names[t] for t in tokens.tolist()):12} probability {score.exp():.3f}")

few, net = 5 if is_fast() else 200, nets["attention"]
with torch.no_grad():
    for beam in (1, 3, 10):
        found = []
        for features in features_val[:few].split(1):
            found.append(beam_search(net.step, net.start(features), torch.tensor([START]), END, beam, max_length))
        line = f"beam {beam:2}: mean score {sum(score for _, score in found) / few:.3f}"
        if data.name == "scenes":
            texts = [decode_captions(tokens[None], vocabulary)[0] for tokens, _ in found]
            pairs = [count_right_attributes(*pair) for pair in zip(texts, data.captions_val, strict=False)]
            line += f", attributes right {sum(r for r, _ in pairs) / sum(n for _, n in pairs):.1%}"
        print(line)

# %% [markdown] question="beam" points=3
# **Question 4 (3 points).** (a) Explain with the tree why a wider beam can find a less likely sequence, and give a
# simple change to the search after which it is never worse than greedy writing. Would a beam of 5 then never be worse
# than a beam of 3? (b) How many candidates are scored in one step, and how often is `step` called, for a beam of $k$
# and $V$ words? What does beam search need from a state that greedy writing does not? (c) On many tasks captions get
# *shorter*, and by human judgement worse, with a very wide beam, though their probability rises. Why shorter, and what
# does that say about the score?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) After the first step beam 2 holds A (0.4) and B (0.35). The candidates of the second step are By
# and Bz, 0.175 each, and Ax, 0.16: A's line is lost, and with it the certain end. B's lines then lead to a dead end.
# Run greedy search as well and return the better of the two results: never worse than greedy. It does not compare 5
# with 3; for that, too, results of smaller beams would have to be kept. (b) Up to $kV$ candidates; one call per step,
# at most `max_length`, on a batch of up to $k$. Rows of the state have to be picked, repeated and dropped as their
# beginnings are. (c) Every word multiplies the probability by a number below 1, so long captions have a lower score
# than short ones of the same quality; a wide beam finds the short and likely ends which a narrow one has dropped early.
# The probability that the net gives is not the quality (the most likely caption says little and nothing wrong); one
# divides by a power of the length, or picks by another measure.
#
# *Rubric.* 1 point: the tree, the better of two, and no promise between 5 and 3. 1 point: $kV$, one call per step, rows
# picked. 1 point: products shrink with length; likely is not good.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Oriol Vinyals, Alexander Toshev, Samy Bengio and Dumitru Erhan, *Show and tell: a neural image caption generator*,
#   2014, arXiv:1411.4555: a convolutional net, an LSTM, and beam search.
# - Kelvin Xu and others, *Show, attend and tell: neural image caption generation with visual attention*, 2015,
#   arXiv:1502.03044: the attention LSTM, and maps over the words.
# - Dzmitry Bahdanau, Kyunghyun Cho and Yoshua Bengio, *Neural machine translation by jointly learning to align and
#   translate*, 2014, arXiv:1409.0473: attention.
# - Samy Bengio, Oriol Vinyals, Navdeep Jaitly and Noam Shazeer, *Scheduled sampling for sequence prediction with
#   recurrent neural networks*, 2015, arXiv:1506.03099: feeding the net its own words, little by little.
# - Kishore Papineni, Salim Roukos, Todd Ward and Wei-Jing Zhu, *BLEU: a method for automatic evaluation of machine
#   translation*, ACL 2002: the score of question 2.
# - Xinlei Chen and others, *Microsoft COCO captions: data collection and evaluation server*, 2015, arXiv:1504.00325.
# - Sarthak Jain and Byron Wallace, *Attention is not explanation*, 2019, arXiv:1902.10186, and Sarah Wiegreffe and
#   Yuval Pinter, *Attention is not not explanation*, 2019, arXiv:1908.04626: read both.

# %%
check.summary()
