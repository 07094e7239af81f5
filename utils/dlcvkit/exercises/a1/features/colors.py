"""Histograms of colours."""

from __future__ import annotations

from torch.nn.functional import one_hot

from dlcvkit.checking import Case, Function, Mistake, given, uniform


def _bin_counts(img, bins):
    return one_hot((img * bins).long().clamp_max(bins - 1).flatten(1), bins).to(img.dtype).sum(1)


def _color_histogram(img, bins):
    return (_bin_counts(img, bins) / img[0].numel()).flatten()


def _loses_white(img, bins):
    index = (img * bins).long().flatten(1)
    return one_hot(index, bins + 1)[..., :bins].to(img.dtype).mean(1).flatten()


def _rounds(img, bins):
    return one_hot((img * (bins - 1)).round().long().flatten(1), bins).to(img.dtype).mean(1).flatten()


def _stretches_range(img, bins):
    low, high = img.min(), img.max()
    return _color_histogram((img - low) / (high - low), bins)


def _lower_bin_on_edges(img, bins):
    index = ((img * bins).ceil().long() - 1).clamp_min(0)
    return one_hot(index.flatten(1), bins).to(img.dtype).mean(1).flatten()


color_histogram = Function(
    functions=("color_histogram",),
    reference=_color_histogram,
    cases=[
        Case("three channels of 4×5", img=uniform(3, 4, 5), bins=8),
        Case("two channels of 5×3", img=uniform(2, 5, 3, low=0.2, high=0.7), bins=5),
        Case("values on the edges of the bins", img=given([[[0.0, 0.25, 0.5], [0.75, 1.0, 1.0]]]), bins=4),
    ],
    points={"histogram": 3},
    forbidden=frozenset({"histc", "histogram", "histogramdd"}),
    mistakes=[
        Mistake(
            "loses pixels of value 1",
            _loses_white,
            hint="a value of exactly 1 belongs to the last bin",
        ),
        Mistake(
            "counts pixels without dividing",
            lambda img, bins: _bin_counts(img, bins).flatten(),
            hint="shares are asked for, so that images of any size compare: divide by the number of pixels",
        ),
        Mistake(
            "divides by the number of values in all channels",
            lambda img, bins: (_bin_counts(img, bins) / img.numel()).flatten(),
            hint="the bins of each channel add up to 1",
        ),
        Mistake(
            "puts all channels into one histogram",
            lambda img, bins: _color_histogram(img.reshape(1, -1, 1), bins),
            hint="each channel has a histogram of its own; they stand one after the other",
        ),
        Mistake(
            "rounds to the nearest bin",
            _rounds,
            hint="bin b holds the values from b/bins up to, but not including, (b+1)/bins: cut off, do not round",
        ),
        Mistake(
            "spreads the bins from the darkest to the brightest value",
            _stretches_range,
            hint="the bins divide the range from 0 to 1, whatever the image holds",
        ),
        Mistake(
            "counts a value on an edge in the lower bin",
            _lower_bin_on_edges,
            hint="bin b holds the values from b/bins up to, but not including, (b+1)/bins",
        ),
        Mistake(
            "lists the channels inside each bin",
            lambda img, bins: (_bin_counts(img, bins) / img[0].numel()).T.flatten(),
            hint="all bins of channel 0 come first, then all bins of channel 1",
        ),
        Mistake(
            "returns a table of channels and bins",
            lambda img, bins: _bin_counts(img, bins) / img[0].numel(),
            hint="the result is one row of C * bins numbers",
        ),
    ],
)
