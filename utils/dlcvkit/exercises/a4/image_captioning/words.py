"""Captions as words, words as numbers, and back."""

from __future__ import annotations

import re
from collections import Counter

import torch

from dlcvkit.checking import Case, Function, Mistake, given

SPECIAL = ["<pad>", "<start>", "<end>", "<unk>"]
PAD, START, END, UNK = range(4)


def _split(caption):
    return re.findall(r"[a-z0-9']+", caption.lower())


def _by_count(item):
    return -item[1], item[0]


def _vocabulary(
    captions, min_count, *, split=_split, key=_by_count, least=0, special=SPECIAL, is_last=False, once=False
):
    """The vocabulary; each keyword switches a mistake on."""
    counts = Counter(word for caption in captions for word in (set(split(caption)) if once else split(caption)))
    kept = [(word, count) for word, count in counts.items() if count >= min_count + least]
    words = [word for word, _ in (kept if key is None else sorted(kept, key=key))]
    return [*words, *special] if is_last else [*special, *words]


def _making(**flags):
    return lambda captions, min_count: _vocabulary(captions, min_count, **flags)


_TEXTS = [
    "A red ring above a blue star.",
    "a blue star, below a red ring",
    "Two dogs -- and a cat! -- on a red sofa",
    "the cat's sofa is very, very old",
]

build_vocabulary = Function(
    functions=("build_vocabulary",),
    reference=_vocabulary,
    cases=[
        Case("four captions, all words", captions=_TEXTS, min_count=1),
        Case("words that occur twice", captions=_TEXTS, min_count=2),
    ],
    points={"vocabulary": 2},
    mistakes=[
        Mistake(
            "splits at blanks only",
            _making(split=str.split),
            hint="split_words stands in the first cell: it knows about capitals and commas",
        ),
        Mistake(
            "leaves out words that occur exactly min_count times",
            _making(least=1),
            hint="min_count occurrences are enough",
        ),
        Mistake("leaves the special words out", _making(special=[]), hint="which four entries come first?"),
        Mistake("puts the special words last", _making(is_last=True), hint="which four entries come first?"),
        Mistake("sorts by the alphabet", _making(key=lambda item: item[0]), hint="the most frequent word comes first"),
        Mistake(
            "puts rare words first",
            _making(key=lambda item: (item[1], item[0])),
            hint="the most frequent word comes first",
        ),
        Mistake(
            "leaves equally frequent words in the order of their first occurrence",
            _making(key=lambda item: -item[1]),
            hint="equally frequent words stand in alphabetical order",
        ),
        Mistake(
            "does not sort the words",
            _making(key=None),
            hint="the most frequent word comes first, and equally frequent ones follow the alphabet",
        ),
        Mistake(
            "ignores min_count",
            lambda captions, min_count: _vocabulary(captions, 0),
            hint="rare words are not to get a number of their own",
        ),
        Mistake(
            "counts captions instead of occurrences",
            _making(once=True),
            hint="a word that stands twice in a caption counts twice",
        ),
    ],
)


def _encode(captions, vocabulary, length, *, split=_split, start=True, end=True, unknown=UNK, filler=PAD, cut="words"):
    rows = []
    for caption in captions:
        words = [vocabulary.index(word) if word in vocabulary else unknown for word in split(caption)]
        words = [word for word in words if word is not None]
        if cut == "words":
            words = words[: length - start - end]
        row = ([START] if start else []) + words + ([END] if end else [])
        rows.append((row + [filler] * length)[:length])
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), length)


def _encoding(**flags):
    return lambda captions, vocabulary, length: _encode(captions, vocabulary, length, **flags)


WORDS = [*SPECIAL, "a", "red", "star", "above", "blue", "ring", "cat's", "end"]

encode_captions = Function(
    functions=("encode_captions",),
    reference=_encode,
    cases=[
        Case(
            "short, long and unknown",
            captions=["A red star", "a blue ring above a red star", "a green star!", "end"],
            vocabulary=WORDS,
            length=6,
        ),
    ],
    points={"tokens": 2},
    mistakes=[
        Mistake("leaves <start> out", _encoding(start=False), hint="what stands in front of the first word?"),
        Mistake("leaves <end> out", _encoding(end=False), hint="what stands after the last word?"),
        Mistake(
            "cuts <end> off when a caption is too long",
            _encoding(cut="row"),
            hint="a caption that is too long loses words, never its <end>",
        ),
        Mistake("leaves unknown words out", _encoding(unknown=None), hint="which number stands for an unknown word?"),
        Mistake(
            "gives unknown words the number 0", _encoding(unknown=PAD), hint="which number stands for an unknown word?"
        ),
        Mistake("fills up with <end>", _encoding(filler=END), hint="behind <end> comes only <pad>"),
        Mistake(
            "splits at blanks only",
            _encoding(split=str.split),
            hint="captions are split the way the vocabulary was made: with split_words",
        ),
    ],
)


def _decode(tokens, vocabulary, *, stops=(END,), hidden=(PAD, START), keeps_end=False, last=False):
    texts = []
    for row in tokens.tolist():
        ends = [place for place, token in enumerate(row) if token in stops]
        if ends:
            row = row[: ends[-1 if last else 0] + keeps_end]
        texts.append(" ".join(vocabulary[token] for token in row if token not in hidden))
    return texts


def _decoding(**flags):
    return lambda tokens, vocabulary: _decode(tokens, vocabulary, **flags)


decode_captions = Function(
    functions=("decode_captions",),
    reference=_decode,
    cases=[
        Case(
            "with and without <end>",
            tokens=given(
                [[1, 4, 5, 6, 2, 0, 0], [4, 8, 9, 7, 4, 5, 6], [1, 3, 2, 4, 2, 5, 0], [2, 2, 5, 5, 5, 5, 5]],
                dtype=torch.int64,
            ),
            vocabulary=WORDS,
        ),
    ],
    points={"captions": 1},
    mistakes=[
        Mistake(
            "reads on behind <end>", _decoding(stops=(), hidden=(PAD, START, END)), hint="a caption is over at <end>"
        ),
        Mistake(
            "stops at the last <end>", _decoding(last=True, hidden=(PAD, START, END)), hint="the first <end> counts"
        ),
        Mistake(
            "reads on behind <end>, and shows it",
            _decoding(stops=(), hidden=(PAD, START)),
            hint="a caption is over at <end>, which is no word of it",
        ),
        Mistake("keeps <start>", _decoding(hidden=(PAD,)), hint="<start> is no word of the caption"),
        Mistake("keeps <end>", _decoding(keeps_end=True), hint="<end> is no word of the caption"),
        Mistake("leaves <unk> out", _decoding(hidden=(PAD, START, UNK)), hint="<unk> stands for a word and is kept"),
        Mistake(
            "decodes everything, special words included",
            _decoding(stops=(), hidden=()),
            hint="which special words belong to the text, and where does it end?",
        ),
    ],
)
