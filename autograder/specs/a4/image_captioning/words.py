"""Captions as words, words as numbers, and back."""

from __future__ import annotations

import re

import torch

from dlcvkit.checking import Case, Hidden, given, integers
from dlcvkit.exercises.a4.image_captioning.words import SPECIAL, WORDS

PAD, START, END, UNK = range(4)


def _split(caption):
    return re.findall(r"[a-z0-9']+", caption.lower())


def _vocabulary(fault=""):
    def build_vocabulary(captions, min_count=1):
        words = [word for caption in captions for word in _split(caption)]
        if fault == "first caption only":
            words = _split(captions[0])
        if fault == "drops repeated neighbours":
            words = [w for i, w in enumerate(words) if not i or words[i - 1] != w]
        counts = {word: words.count(word) for word in words}
        if fault == "drops one-letter words":
            counts = {word: count for word, count in counts.items() if len(word) > 1}
        kept = [word for word, count in counts.items() if count >= min_count]
        kept = sorted(kept, key=lambda word: (-counts[word], word), reverse=fault == "reversed")
        kept = sorted(kept, key=len) if fault == "by length" else kept
        special = SPECIAL[1:] if fault == "without <pad>" else SPECIAL
        special = (
            [SPECIAL[0], SPECIAL[2], SPECIAL[1], SPECIAL[3]] if fault == "exchanges <start> and <end>" else special
        )
        result = [*special, *kept]
        if fault == "changes the captions":
            captions.sort()
        return None if fault == "returns None" else set(result) if fault == "a set" else result

    return build_vocabulary


def _vocabulary_in_two_sorts(captions, min_count=1):
    counts = {}
    for caption in captions:
        for word in _split(caption):
            counts[word] = counts.get(word, 0) + 1
    words = sorted(counts)
    words.sort(key=counts.get, reverse=True)
    return ["<pad>", "<start>", "<end>", "<unk>", *filter(lambda word: counts[word] >= min_count, words)]


def _vocabulary_by_selection(captions, min_count=1):
    words = sorted(word for caption in captions for word in _split(caption))
    found = list(SPECIAL)
    for count in range(len(words), min_count - 1, -1):
        found += [w for i, w in enumerate(words) if words.count(w) == count and (i == 0 or words[i - 1] != w)]
    return found


build_vocabulary = Hidden(
    cases=[
        Case("one caption", captions=["One, two, two, three!"], min_count=1),
        Case("captions without words", captions=["", "a dog", "...", "a"], min_count=1),
        Case("no word is frequent enough", captions=["a dog", "the cat"], min_count=2),
        Case("numbers and apostrophes", captions=["2 dogs' toys", "It's 2 o'clock", "dogs' 10"], min_count=1),
        Case("three times", captions=["a a b", "b c c", "c a b", "d-d d"], min_count=3),
        Case("words like special ones", captions=["the start, the end", "pad the unk"], min_count=1),
    ],
    mutants={
        fault: _vocabulary(fault)
        for fault in (
            "first caption only",
            "drops repeated neighbours",
            "drops one-letter words",
            "reversed",
            "by length",
            "without <pad>",
            "exchanges <start> and <end>",
            "changes the captions",
            "returns None",
            "a set",
        )
    },
    solutions={"two stable sorts": _vocabulary_in_two_sorts, "count by count": _vocabulary_by_selection},
)


def _encode(fault=""):
    def encode_captions(captions, vocabulary, length):
        rows = []
        for caption in captions:
            words = [vocabulary.index(w) if w in vocabulary else UNK for w in _split(caption)]
            room = {"one word too few": 3, "one word too many": 1}.get(fault, 2)
            if fault == "keeps the last words":
                words = words[-(length - 2) :] if length > 2 else []
            if fault == "keeps no words if it is too long" and len(words) > length - 2:
                words = []
            row = [START, *words[: max(length - room, 0)], END]
            if fault == "<end> only where there is room" and len(words) > length - 2:
                row = [START, *words[: length - 1]]
            filling = [PAD] * (length - len(row))
            row = [*filling, *row] if fault == "fills up in front" else [*row, *filling]
            rows.append(row[:length])
        dtype = torch.float32 if fault == "floats" else torch.int64
        if fault == "a list":
            return rows
        if fault == "as short as possible":
            used = max(sum(token != PAD for token in row) for row in rows)
            rows = [row[:used] for row in rows]
        return torch.tensor(rows, dtype=dtype)

    return encode_captions


def _encode_by_padding(captions, vocabulary, length):
    rows = []
    for caption in captions:
        tokens = [START]
        for word in _split(caption):
            if len(tokens) == length - 1:
                break
            tokens.append(vocabulary.index(word) if word in vocabulary else UNK)
        rows.append(torch.tensor([*tokens, END]))
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    return torch.cat([padded, padded.new_zeros(len(rows), length - padded.shape[1])], dim=1)


def _encode_column_by_column(captions, vocabulary, length):
    number = dict(zip(vocabulary, range(len(vocabulary)), strict=True))
    texts = [_split(caption) for caption in captions]
    columns = [[START] * len(texts)]
    for place in range(length - 1):
        column = []
        for words in texts:
            stop = min(len(words), length - 2)
            column.append(number.get(words[place], UNK) if place < stop else END if place == stop else PAD)
        columns.append(column)
    return torch.tensor(columns).T.contiguous()


_LONG = " ".join(["a red star above a blue ring"] * 30)

encode_captions = Hidden(
    cases=[
        Case("a caption without words", captions=["", "..."], vocabulary=WORDS, length=4),
        Case("room for no word", captions=["a red star", ""], vocabulary=WORDS, length=2),
        Case("room for one word", captions=["red a star"], vocabulary=WORDS, length=3),
        Case("just fits, and one too many", captions=["A blue star", "a blue star above"], vocabulary=WORDS, length=5),
        Case("one caption, all unknown", captions=["Yellow heart, yellow moon"], vocabulary=WORDS, length=9),
        Case("a vocabulary of special words", captions=["a red ring", "unk pad"], vocabulary=SPECIAL, length=7),
        Case("very long", captions=[_LONG, "the cat's end", "a"], vocabulary=WORDS, length=50),
        Case("very long rows", captions=["a star", "Red, RED; red!"], vocabulary=WORDS, length=300),
    ],
    mutants={
        fault: _encode(fault)
        for fault in (
            "one word too few",
            "one word too many",
            "keeps the last words",
            "keeps no words if it is too long",
            "<end> only where there is room",
            "fills up in front",
            "floats",
            "a list",
            "as short as possible",
        )
    },
    solutions={"padded at the end": _encode_by_padding, "column by column": _encode_column_by_column},
    equivalent={
        f"encode_captions: zip(tokens, captions, strict=True) -> zip(tokens, captions{rest})": "there is a row per caption"
        for rest in ("", ", strict=False")
    },
)


def _decode(fault=""):
    def decode_captions(tokens, vocabulary):
        texts = []
        for row in tokens.tolist():
            words = []
            for place, token in enumerate(row):
                if token == END or (fault == "stops at <pad>" and token == PAD):
                    break
                if fault == "drops what stands first" and place == 0:
                    continue
                if fault == "stops at <unk>" and token == UNK:
                    break
                if token in (PAD, START):
                    continue
                words.append(vocabulary[token])
            texts.append(words if fault == "lists of words" else ("" if fault == "no blanks" else " ").join(words))
            if fault == "blank at the end":
                texts[-1] += " "
        return texts[0] if fault == "first caption only" else texts

    return decode_captions


def _decode_by_cumulation(tokens, vocabulary):
    is_over = (tokens == END).cumsum(dim=1) > 0
    wanted = ~is_over & (tokens != PAD) & (tokens != START)
    return [" ".join(vocabulary[t] for t in row[keep].tolist()) for row, keep in zip(tokens, wanted, strict=True)]


def _decode_by_text(tokens, vocabulary):
    texts = []
    for row in tokens:
        words = " ".join(vocabulary[int(t)] for t in row).partition("<end>")[0].split()
        texts.append(" ".join(word for word in words if word not in ("<pad>", "<start>")))
    return texts


decode_captions = Hidden(
    cases=[
        Case("one row, one word", tokens=given([[5]], dtype=torch.int64), vocabulary=WORDS),
        Case(
            "only special words",
            tokens=given([[1, 2, 0], [0, 0, 0], [2, 4, 5], [3, 3, 3]], dtype=torch.int64),
            vocabulary=WORDS,
        ),
        Case(
            "padding in between",
            tokens=given([[4, 0, 5, 1, 6, 2], [0, 4, 0, 0, 5, 5]], dtype=torch.int64),
            vocabulary=WORDS,
        ),
        Case("any tokens", tokens=integers(9, 12, high=12), vocabulary=WORDS),
        Case("the word end", tokens=given([[1, 4, 11, 5, 2, 0]], dtype=torch.int64), vocabulary=WORDS),
        Case("very long", tokens=integers(2, 400, low=3, high=12), vocabulary=WORDS),
        Case("non-contiguous", tokens=integers(5, 7, high=12), vocabulary=WORDS).strided(),
    ],
    mutants={
        fault: _decode(fault)
        for fault in (
            "stops at <pad>",
            "drops what stands first",
            "stops at <unk>",
            "lists of words",
            "no blanks",
            "blank at the end",
            "first caption only",
        )
    },
    solutions={"by a running sum": _decode_by_cumulation, "by text": _decode_by_text},
)
