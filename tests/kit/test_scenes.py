"""Drawn scenes: what the captions, boxes and masks say is what the pictures show."""

import hashlib
import time

import numpy as np
import pytest
import torch

from dlcvkit.data.scene_painting import COLOURS, RGB, SHAPES
from dlcvkit.data.scenes import (
    RELATIONS,
    SIZES,
    caption_attributes,
    count_right_attributes,
    scenes,
)


def fingerprint(tensor):
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


@pytest.fixture(scope="module")
def some():
    return scenes(600, 3, objects=(1, 3))


def test_scenes_have_the_form_that_is_promised(some):
    assert some.images.shape == (600, 3, 48, 48) and some.images.dtype == torch.float32
    assert some.masks.shape == (600, 3, 48, 48) and some.masks.dtype == torch.bool
    assert some.boxes.shape == (600, 3, 4) and some.objects.shape == (600, 3, 3)
    assert some.boxes.dtype == some.objects.dtype == torch.int64
    assert 0 <= some.images.min() < some.images.max() <= 1
    assert torch.equal((some.images * 255).round() / 255, some.images)
    assert sorted({len(captions) for captions in some.captions}) == [1, 2, 3]


@pytest.mark.parametrize("objects", [(1, 1), (2, 2), (1, 3), (3, 3)])
def test_a_longer_dataset_begins_with_the_shorter_one(objects):
    longer = scenes(260, 5, objects=objects)
    for n in (1, 250, 251):
        shorter = scenes(n, 5, objects=objects)
        assert shorter.captions == longer.captions[:n]
        for name in ("images", "objects", "masks", "boxes"):
            assert torch.equal(getattr(shorter, name), getattr(longer, name)[:n])


def test_another_seed_gives_other_scenes_and_no_two_are_alike(some):
    assert not torch.equal(scenes(10, 3).images, scenes(10, 4).images)
    assert len({fingerprint(image) for image in some.images}) == 600


def test_a_box_is_the_smallest_around_its_mask(some):
    for mask, (left, top, right, bottom) in zip(some.masks.flatten(0, 1), some.boxes.flatten(0, 1), strict=True):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        if len(rows):
            assert (left, top, right, bottom) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        else:
            assert (left, top, right, bottom) == (0, 0, 0, 0)


def test_masks_hold_the_object_and_objects_do_not_overlap(some):
    is_there = some.objects[..., 0] >= 0
    areas = some.masks.flatten(2).sum(2)
    assert torch.equal(areas > 0, is_there)
    assert int(some.masks.sum(1).max()) == 1
    small, large = areas[some.objects[..., 0] == 0], areas[some.objects[..., 0] == 1]
    assert small.min() >= 20 and large.min() >= 60
    for shape in range(len(SHAPES)):
        mine = areas[some.objects[..., 2] == shape], some.objects[..., 0][some.objects[..., 2] == shape]
        assert mine[0][mine[1] == 0].max() < mine[0][mine[1] == 1].min(), "a large one of a shape is larger"


def test_pixels_of_a_mask_have_the_colour_that_the_caption_names(some):
    for row in range(200):
        for number in range(3):
            colour = int(some.objects[row, number, 1])
            if colour >= 0:
                pixels = some.images[row][:, some.masks[row, number]].mean(1).numpy()
                assert np.abs(RGB - pixels).sum(1).argmin() == colour


def test_captions_follow_the_grammar_and_name_what_is_there(some):
    for captions, kinds in zip(some.captions, some.objects.tolist(), strict=True):
        names = [f"a {SIZES[s]} {COLOURS[c]} {SHAPES[f]}" for s, c, f in kinds if s >= 0]
        assert len(captions) == len(names) == len(set(captions))
        for caption in captions:
            assert sorted(name for name in names if name in caption) == sorted(names)
            rest = caption
            for name in names:
                rest = rest.replace(name, "", 1)
            said = [part.strip() for part in rest.split("and") if part.strip()]
            assert len(said) == len(names) - 1 and set(said) <= set(RELATIONS)


def test_relations_are_those_of_the_boxes(some):
    for row in range(300):
        present = [i for i in range(3) if some.objects[row, i, 0] >= 0]
        for caption in some.captions[row]:
            places = {}
            for i in present:
                _, c, f = some.objects[row, i].tolist()
                left, top, right, bottom = some.boxes[row, i].tolist()
                places[caption.index(f"{COLOURS[c]} {SHAPES[f]}")] = ((left + right) / 2, (top + bottom) / 2)
            first, *others = [places[key] for key in sorted(places)]
            said = [word for word in caption_attributes(caption) if word in RELATIONS]
            for relation, other in zip(said, others, strict=True):
                x, y = first[0] - other[0], first[1] - other[1]
                shown = ("above" if y < 0 else "below") if abs(y) > abs(x) else "left of" if x < 0 else "right of"
                assert relation == shown


def test_the_customary_caption_stands_in_front():
    for captions in scenes(300).captions:
        first, second = captions
        sizes = [word for word in caption_attributes(first) if word in SIZES]
        assert sizes != ["small", "large"]
        if sizes[0] == sizes[1]:
            assert caption_attributes(first)[3] in ("above", "left of")
            assert caption_attributes(second)[3] in ("below", "right of")


def test_every_word_of_the_grammar_is_used():
    words = {word for captions in scenes(500).captions for caption in captions for word in caption_attributes(caption)}
    assert words == {*SIZES, *COLOURS, *SHAPES, *RELATIONS}


@pytest.mark.parametrize("size", [24, 64, 97])
def test_other_sizes_are_drawn(size):
    drawn = scenes(50, size=size, objects=(3, 3))
    assert drawn.images.shape == (50, 3, size, size)
    assert bool(drawn.masks.flatten(2).any(2).all())
    assert int(drawn.boxes.max()) <= size


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"n": 1, "seed": -1}, "seed at least 0"),
        ({"n": 1, "size": 23}, "24 to 256"),
        ({"n": 1, "objects": (0, 2)}, "from 1 to 3"),
        ({"n": 1, "objects": (3, 2)}, "smaller first"),
        ({"n": 1, "objects": (1, 4)}, "from 1 to 3"),
    ],
)
def test_impossible_wishes_are_refused(wish, message):
    with pytest.raises(ValueError, match=message):
        scenes(**wish)


def test_five_thousand_scenes_take_seconds():
    start = time.process_time()
    scenes(5000)
    assert time.process_time() - start < 10


def test_attributes_are_counted_against_the_best_of_the_right_captions():
    right = ["a small red ring above a large blue star", "a large blue star below a small red ring"]
    assert [count_right_attributes(caption, right) for caption in right] == [(7, 7), (7, 7)]
    assert count_right_attributes("a large blue star below a small red star", right) == (6, 7)
    assert count_right_attributes("a small red ring", right) == (3, 7)
    assert count_right_attributes("", right) == (0, 7)
    assert count_right_attributes("a small red ring left of a small red ring", ["a small red ring"]) == (3, 7)
    assert count_right_attributes("a small red star above a large blue ring", right) == (5, 7)
