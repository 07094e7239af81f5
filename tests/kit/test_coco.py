"""COCO's captions: read as the official archives unpack, one clear error for each kind of broken file."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dlcvkit.data import DataError, MissingDataError, load_captions, load_coco
from dlcvkit.data.coco import read_captions

COUNT = 6


def official(count=COUNT):
    """Return what the annotation file holds: ids without order, five captions each, in any order."""
    images = [
        {"id": 100 - 7 * i, "file_name": f"{100 - 7 * i:012}.jpg", "height": 48, "width": 64} for i in range(count)
    ]
    notes = [
        {"id": 10 * i + k, "image_id": 100 - 7 * i, "caption": f" Picture {i},\nin words {k}. "}
        for k in range(5)
        for i in reversed(range(count))
    ]
    return {"info": {"year": 2017}, "licenses": [], "images": images, "annotations": notes}


def write(home, contents=None, count=COUNT, split="val"):
    contents = official(count) if contents is None else contents
    (home / "coco/annotations").mkdir(parents=True, exist_ok=True)
    (home / f"coco/{split}2017").mkdir(exist_ok=True)
    text = contents if isinstance(contents, str) else json.dumps(contents)
    (home / f"coco/annotations/captions_{split}2017.json").write_text(text, encoding="utf-8")
    for i in range(count):
        pixels = np.zeros((48, 64, 3), dtype=np.uint8)
        pixels[:, :8] = pixels[:, -8:] = 255  # outside of the middle
        pixels[..., 1] = 40 * i
        Image.fromarray(pixels).save(home / f"coco/{split}2017/{100 - 7 * i:012}.jpg", quality=95)
    return home


def broken(change):
    contents = official()
    change(contents)
    return contents


def test_photographs_and_captions_come_together(tmp_path):
    images, captions = load_coco(size=16, dest=write(tmp_path))
    assert images.shape == (COUNT, 3, 16, 16) and images.dtype == torch.float32
    assert 0 <= images.min() <= images.max() <= 1
    assert captions[2] == tuple(f"Picture 2, in words {k}." for k in range(5))
    green = images[:, 1].mean((1, 2)) * 255
    assert torch.allclose(green, 40.0 * torch.arange(COUNT), atol=4)
    assert images[:, 0].max() < 0.1, "the middle was taken"


def test_the_training_split_is_read_too(tmp_path):
    assert len(load_coco("train", size=8, dest=write(tmp_path, split="train"))[1]) == COUNT


def test_a_choice_is_seeded_and_part_of_a_larger_one(tmp_path):
    write(tmp_path)
    images, captions = load_coco(n=3, size=8, seed=4, dest=tmp_path)
    larger = load_coco(n=5, size=8, seed=4, dest=tmp_path)
    assert torch.equal(larger[0][:3], images) and larger[1][:3] == captions
    assert any(load_coco(n=3, size=8, seed=seed, dest=tmp_path)[1] != captions for seed in range(4))


def test_grey_photographs_become_colour(tmp_path):
    write(tmp_path)
    Image.new("L", (50, 40), 200).save(tmp_path / "coco/val2017/000000000100.jpg")
    images, _ = load_coco(size=8, dest=tmp_path)
    assert torch.allclose(images[0], torch.full((3, 8, 8), 200 / 255), atol=0.02)


def test_an_image_without_captions_is_left_out(tmp_path):
    contents = official()
    contents["annotations"] = [note for note in contents["annotations"] if note["image_id"] != 93]
    contents["annotations"].append({"id": 1, "image_id": 93, "caption": "  "})
    images, captions = load_coco(size=8, dest=write(tmp_path, contents))
    assert len(images) == len(captions) == COUNT - 1


def test_what_is_missing_is_named_with_the_command_that_fetches_it(tmp_path):
    with pytest.raises(
        MissingDataError, match=r"captions_val2017\.json is not in .*data_download\.sh coco-annotations"
    ):
        load_coco(dest=tmp_path)
    write(tmp_path)
    for picture in (tmp_path / "coco/val2017").iterdir():
        picture.unlink()
    (tmp_path / "coco/val2017").rmdir()
    with pytest.raises(MissingDataError, match=r"val2017; get them with \./data_download\.sh coco-val"):
        load_coco(dest=tmp_path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("", "is damaged, it is not JSON"),
        ('{"images": [', "is damaged, it is not JSON"),
        ("[" * 100_000, "is damaged, it is not JSON"),
        ([], "no list 'images'"),
        ({"images": []}, "no list 'annotations'"),
        ({"images": {}, "annotations": []}, "no list 'images'"),
        ({"images": [], "annotations": []}, "has no captions"),
        (broken(lambda c: c["images"].append(3)), "'images' whose 'id' is not a whole number"),
        (broken(lambda c: c["images"][1].pop("file_name")), "'file_name' is not text"),
        (broken(lambda c: c["images"][1].update(id=100)), "two images with the id 100"),
        (broken(lambda c: c["images"][1].update(id=True)), "'id' is not a whole number"),
        (broken(lambda c: c["images"][1].update(file_name="../a.jpg")), r"names '\.\./a\.jpg'"),
        (broken(lambda c: c["images"][1].update(file_name="")), r"names ''"),
        (broken(lambda c: c["images"][1].update(file_name="a\nb.jpg")), r"names 'a\\nb\.jpg'"),
        (broken(lambda c: c["images"][1].update(file_name="..")), r"names '\.\.'"),
        (broken(lambda c: c["annotations"][1].pop("caption")), "'caption' is not text"),
        (broken(lambda c: c["annotations"][1].update(image_id=5)), "a caption for image 5"),
        (broken(lambda c: c["annotations"][1].update(image_id="100")), "'image_id' is not a whole number"),
    ],
)
def test_a_broken_annotation_file_gets_one_line(tmp_path, contents, message):
    write(tmp_path, contents)
    with pytest.raises(DataError, match=message) as caught:
        load_coco(dest=tmp_path)
    assert "captions_val2017.json" in str(caught.value) and "\n" not in str(caught.value)
    assert not isinstance(caught.value, MissingDataError)


def test_text_that_is_no_text_gets_one_line(tmp_path):
    write(tmp_path)
    path = tmp_path / "coco/annotations/captions_val2017.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not JSON"):
        read_captions(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_captions(path.with_name("no_such.json"))


def test_a_photograph_that_is_missing_or_damaged_gets_one_line(tmp_path):
    write(tmp_path)
    picture = tmp_path / "coco/val2017/000000000100.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(DataError, match=r"000000000100\.jpg is not a readable image"):
        load_coco(dest=tmp_path)
    picture.unlink()
    with pytest.raises(DataError, match=r"000000000100\.jpg is not there"):
        load_coco(dest=tmp_path)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"split": "test"}, "not 'test'"),
        ({"n": 0}, "has 6 images; n is 0"),
        ({"n": 7}, "n is 7"),
        ({"size": 0}, "size"),
    ],
)
def test_impossible_wishes_are_refused(tmp_path, wish, message):
    with pytest.raises(ValueError, match=message):
        load_coco(dest=write(tmp_path), **wish)


def test_scenes_stand_in_and_the_note_says_so(tmp_path):
    data = load_captions(20, 10, dest=tmp_path)
    assert data.name == "scenes"
    assert data.note == (
        "Drawn scenes: 20 train, 10 validation pictures, in place of COCO; "
        "./data_download.sh coco-annotations coco-val fetches the photographs."
    )
    assert (data.x_train.shape, data.x_val.shape) == ((20, 3, 48, 48), (10, 3, 48, 48))
    assert (len(data.captions_train), len(data.captions_val)) == (20, 10)
    assert not any(torch.equal(one, other) for one in data.x_train for other in data.x_val)


def test_photographs_are_used_when_they_are_here(tmp_path):
    data = load_captions(4, 2, photograph_size=24, dest=write(tmp_path))
    assert (data.name, data.note) == ("coco", "COCO 2017 captions: 4 train, 2 validation pictures.")
    assert (data.x_train.shape, data.x_val.shape) == ((4, 3, 24, 24), (2, 3, 24, 24))
    assert not set(data.captions_train) & set(data.captions_val)


def test_damage_is_not_papered_over(tmp_path):
    with pytest.raises(DataError, match="not JSON"):
        load_captions(4, 2, dest=write(tmp_path, "{"))
    with pytest.raises(ValueError, match="n_train and n_val must be at least 1"):
        load_captions(0, 2, dest=tmp_path)
