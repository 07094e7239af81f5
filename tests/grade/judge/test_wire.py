"""What crosses the wall: frames and values, whole, damaged and hostile."""

from __future__ import annotations

import json
import math
import struct

import pytest
import torch
from safetensors.torch import save

from dlcvgrade.judge.encoding import MAX_NODES, Undecodable, Unencodable, decode, encode
from dlcvgrade.judge.frames import BadFrame, FrameReader, FrameTooLarge, pack
from dlcvkit.checking.values import is_dense, is_same


def reader(header=1000, body=1000, total=10_000):
    return FrameReader(header, body, total)


def test_frames_arrive_whole_in_whatever_pieces():
    stream = pack({"a": 1}, b"xyz") + pack([2])
    for size in (1, 2, 7, len(stream)):
        wire = reader()
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert [frame for piece in pieces for frame in wire.feed(piece)] == [({"a": 1}, b"xyz"), ([2], b"")]
        assert wire.is_between_frames


def test_unfinished_frame_is_known_as_such():
    wire = reader()
    assert wire.feed(pack("x")[:-1]) == []
    assert not wire.is_between_frames


@pytest.mark.parametrize("announced", [(1001, 0), (0, 1001), (2**32 - 1, 2**32 - 1)])
def test_large_announcement_is_refused_before_anything_is_stored(announced):
    with pytest.raises(FrameTooLarge):
        reader().feed(struct.pack(">II", *announced))


def test_endless_stream_is_refused():
    wire = reader(total=100)
    assert wire.feed(pack("x" * 50))
    with pytest.raises(FrameTooLarge):
        wire.feed(pack("x" * 50))


@pytest.mark.parametrize("text", [b"nope", b"\xff\xfe", b"[" * 900, b""])
def test_header_that_is_no_json_is_refused(text):
    with pytest.raises(BadFrame):
        reader().feed(struct.pack(">II", len(text), 0) + text)


VALUES = [
    None, True, 3, -(2**80), 0.1, math.inf, math.nan, "text", [1, (2, [3.0])], {1: [torch.ones(2)], "k": (), 0.5: None},
    torch.arange(6).reshape(2, 3).T, torch.zeros(0, 3), torch.tensor(1.5, dtype=torch.bfloat16), torch.tensor(True),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_come_back_as_they_were(value):
    node, body = encode(value)
    again = decode(json.loads(json.dumps(node)), body)
    assert type(again) is type(value)
    assert is_same(again, value) or (value != value and again != again)


def test_what_is_no_value_comes_back_as_its_type_only():
    class Odd:
        def __reduce__(self):
            raise AssertionError("nobody pickles this")

    assert type(decode(*encode([Odd()]))[0]).__name__ == "Odd"
    assert not is_dense(decode(*encode(torch.eye(2).to_sparse())))


@pytest.mark.parametrize(
    "value",
    [torch.zeros(1).expand(10**6, 10**6), "x" * 10**4, [0] * (MAX_NODES + 1), 2**5000, torch.zeros(5 * 2**20).double()],
    ids=["zero strides", "long text", "many parts", "long integer", "large tensor"],
)
def test_too_much_is_not_sent(value):
    with pytest.raises(Unencodable):
        encode(value)


@pytest.mark.parametrize(
    ("node", "body"),
    [
        (None, b""), (3, b""), ([], b""), ({}, b""), ({"is": "evil"}, b""), ({"is": "tensor", "name": "0"}, b""),
        ({"is": "tensor", "name": "0"}, b"\xff" * 64), ({"is": "int", "value": "zz"}, b""),
        ({"is": "int", "value": 3}, b""),
        ({"is": "int", "value": "f" * 2000}, b""), ({"is": "float", "value": "1e9" * 20}, b""),
        ({"is": "plain", "value": {"x": 1}}, b""), ({"is": "list", "items": None}, b""),
        ({"is": "dict", "items": [[{"is": "list", "items": []}, {"is": "plain", "value": None}]]}, b""),
        ({"is": "dict", "items": [[{"is": "tensor", "name": "0"}, {"is": "plain", "value": None}]]},
         save({"0": torch.ones(1)})),
        ({"is": "dict", "items": [[1, 2, 3]]}, b""),
    ],
)  # fmt: skip
def test_what_describes_no_value_is_refused(node, body):
    with pytest.raises(Undecodable):
        decode(node, body)


def test_deep_description_is_refused():
    node = {"is": "plain", "value": None}
    for _ in range(50):
        node = {"is": "list", "items": [node]}
    with pytest.raises(Undecodable):
        decode(node, b"")
