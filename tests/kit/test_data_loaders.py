import gzip
import io
import os
import pickle
import pickletools
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from dlcvkit.data import DataError, MissingDataError, data_home, load_cifar10, load_digits, load_mnist, load_photograph
from dlcvkit.data.cifar import BATCHES, CLASSES, read_pickle
from dlcvkit.data.subset import balanced_order

GENERATOR = np.random.default_rng(0)
ROWS = 20


def write_batches(folder, rows=ROWS):
    folder.mkdir(parents=True)
    stored = {}
    for split, names in BATCHES.items():
        for name in names:
            data = GENERATOR.integers(0, 256, (rows, 3072), dtype=np.uint8)
            labels = [int(label) for label in GENERATOR.permutation(rows) % 10]
            batch = {b"data": data, b"labels": labels, b"batch_label": b"x", b"filenames": [b"a.png"] * rows}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
            stored.setdefault(split, []).append((data, labels))
    return {
        split: (np.concatenate([data for data, _ in parts]), [label for _, labels in parts for label in labels])
        for split, parts in stored.items()
    }


def write_files(folder, per_class=3, size=32):
    for split in BATCHES:
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for i in range(per_class):
                picture = Image.new("RGB", (size, size), (label * 20, i * 10, 255 if split == "test" else 0))
                picture.save(folder / split / name / f"{i:04}.png")


@pytest.mark.parametrize("folder", ["cifar-10-batches-py", "."])
def test_batches_are_read_in_their_order(tmp_path, folder):
    stored = write_batches(tmp_path / "data" / folder)
    for split in ("train", "test"):
        x, y = load_cifar10(split, dest=tmp_path / "data")
        data, labels = stored[split]
        assert x.shape == (len(data), 3, 32, 32)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert torch.equal(x, torch.from_numpy(data).reshape(-1, 3, 32, 32).float() / 255)
        assert y.tolist() == labels


def test_a_subset_is_balanced_seeded_and_part_of_a_larger_one(tmp_path):
    write_batches(tmp_path / "data")
    x, y = load_cifar10("train", 30, seed=3, dest=tmp_path / "data")
    assert torch.bincount(y).tolist() == [3] * 10
    again, _ = load_cifar10("train", 30, seed=3, dest=tmp_path / "data")
    other, _ = load_cifar10("train", 30, seed=4, dest=tmp_path / "data")
    larger, _ = load_cifar10("train", 50, seed=3, dest=tmp_path / "data")
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert torch.equal(x, larger[:30])


@pytest.mark.parametrize("n", [0, -1, 101])
def test_a_subset_of_an_impossible_size_is_refused(tmp_path, n):
    write_batches(tmp_path / "data")
    with pytest.raises(ValueError, match=f"has 100 images; n is {n}"):
        load_cifar10("train", n, dest=tmp_path / "data")


@pytest.mark.parametrize("folder", ["cifar10-images", "."])
def test_image_files_are_read_class_by_class(tmp_path, folder):
    write_files(tmp_path / folder)
    x, y = load_cifar10("test", dest=tmp_path)
    assert x.shape == (30, 3, 32, 32)
    assert y.tolist() == [label for label in range(10) for _ in range(3)]
    assert (x[7, :, 0, 0] * 255).round().tolist() == [40, 10, 255]
    x, y = load_cifar10("train", 10, dest=tmp_path)
    assert sorted(y.tolist()) == list(range(10))
    assert torch.equal((x[:, 0, 0, 0] * 255).round().long(), y * 20)


def test_the_form_chooses_where_both_are_there(tmp_path):
    write_batches(tmp_path / "cifar-10-batches-py")
    write_files(tmp_path / "cifar10-images")
    assert len(load_cifar10("test", dest=tmp_path)[0]) == ROWS
    assert len(load_cifar10("test", dest=tmp_path, form="batches")[0]) == ROWS
    assert len(load_cifar10("test", dest=tmp_path, form="files")[0]) == 30


def test_wrong_words_are_refused(tmp_path):
    with pytest.raises(ValueError, match="split is 'train' or 'test', not 'valid'"):
        load_cifar10("valid", dest=tmp_path)
    with pytest.raises(ValueError, match="form is"):
        load_cifar10(form="zip", dest=tmp_path)
    with pytest.raises(ValueError, match="split is"):
        load_mnist("valid", dest=tmp_path)


def test_absent_data_says_how_to_get_it(tmp_path):
    with pytest.raises(
        MissingDataError, match=r"CIFAR-10 \(train\) is not in .*; get it with \./data_download\.sh cifar10"
    ):
        load_cifar10(dest=tmp_path)
    with pytest.raises(MissingDataError, match=r"get it with \./data_download\.sh mnist"):
        load_mnist(dest=tmp_path)


def test_an_absent_batch_is_damage_not_absence(tmp_path):
    write_batches(tmp_path / "data")
    (tmp_path / "data/data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3 cannot be read") as caught:
        load_cifar10(dest=tmp_path / "data")
    assert not isinstance(caught.value, MissingDataError)


@pytest.mark.parametrize(("size", "message"), [(16, "16x16 pixels, expected 32x32"), (None, "is not a readable image")])
def test_a_wrong_image_file_is_named(tmp_path, size, message):
    write_files(tmp_path, size=size or 32)
    if size is None:
        (tmp_path / "test/cat/0001.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=message):
        load_cifar10("test", dest=tmp_path)


def as_python_2_wrote_it(batch):
    """Return a pickle with the opcodes and the module names of the official archive: native strings for all bytes."""
    new = pickle.dumps(batch, protocol=3)
    old = bytearray(new)
    for opcode, _, position in pickletools.genops(new):
        replacement = {"PROTO": b"\x80\x02", "SHORT_BINBYTES": b"U", "BINBYTES": b"T"}.get(opcode.name)
        if replacement:
            old[position : position + len(replacement)] = replacement
    return bytes(old).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def test_a_batch_written_by_python_2_is_read(tmp_path):
    write_batches(tmp_path / "data")
    data = GENERATOR.integers(0, 256, (300, 3072), dtype=np.uint8)
    pickled = as_python_2_wrote_it({b"data": data, b"labels": [1] * 300})
    assert b"numpy.core.multiarray" in pickled
    assert {"BINSTRING", "SHORT_BINSTRING"} <= {opcode.name for opcode, _, _ in pickletools.genops(pickled)}
    (tmp_path / "data/test_batch").write_bytes(pickled)
    x, y = load_cifar10("test", dest=tmp_path / "data")
    assert torch.equal((x * 255).round().to(torch.uint8).reshape(300, 3072), torch.from_numpy(data))
    assert y.tolist() == [1] * 300


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


class NumpyAttack:
    def __reduce__(self):
        return np.fromfile, ("/etc/passwd",)


@pytest.mark.parametrize("attack", [Attack(), NumpyAttack(), {b"data": Attack()}, ValueError("x")])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_names_anything_else_is_refused_and_not_run(tmp_path, monkeypatch, attack, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch").write_bytes(pickle.dumps(attack, protocol=protocol))
    with pytest.raises(DataError, match="which a batch has no use for"):
        read_pickle(tmp_path / "batch")
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


@pytest.mark.parametrize("array", [np.zeros(3), np.array([b"x", None], dtype=object)], ids=["floats", "objects"])
def test_a_pickle_with_other_arrays_is_refused(tmp_path, array):
    (tmp_path / "batch").write_bytes(pickle.dumps({b"data": array}, protocol=2))
    with pytest.raises(DataError, match="expected uint8"):
        read_pickle(tmp_path / "batch")


@pytest.mark.parametrize(
    "batch",
    [
        [],
        {b"labels": [0]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": [0, 1]},
        {b"data": np.zeros((1, 3000), np.uint8), b"labels": [0]},
    ],
)
def test_a_batch_of_another_form_is_refused(tmp_path, batch):
    write_batches(tmp_path / "data")
    (tmp_path / "data/test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=r"test_batch (has no data|does not have)"):
        load_cifar10("test", dest=tmp_path / "data")


@pytest.mark.parametrize("contents", [b"", b"garbage", pickle.dumps({b"data": b"x" * 99}, protocol=2)[:40]])
def test_a_damaged_pickle_is_refused(tmp_path, contents):
    (tmp_path / "batch").write_bytes(contents)
    with pytest.raises(DataError, match="is not a plain batch of images"):
        read_pickle(tmp_path / "batch")


def idx(array, header=None):
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress((header or bytes([0, 0, 8, array.ndim])) + shape + array.tobytes())


def write_mnist(folder, n=20):
    (folder / "mnist").mkdir(parents=True)
    images = GENERATOR.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    labels = (np.arange(n) % 10).astype(np.uint8)
    (folder / "mnist/t10k-images-idx3-ubyte.gz").write_bytes(idx(images))
    (folder / "mnist/t10k-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return images, labels


def test_mnist_is_read(tmp_path):
    images, labels = write_mnist(tmp_path)
    x, y = load_mnist("test", dest=tmp_path)
    assert x.shape == (20, 1, 28, 28)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert torch.equal(x[:, 0], torch.from_numpy(images).float() / 255)
    assert y.tolist() == labels.tolist()
    assert torch.bincount(load_mnist("test", 10, dest=tmp_path)[1]).tolist() == [1] * 10


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"not gzip", "is damaged"),
        (idx(np.zeros((20, 28, 28), np.uint8))[:-20], "is damaged"),
        (idx(np.zeros((20, 28), np.uint8)), "is not an idx file of unsigned bytes with 3 axes"),
        (idx(np.zeros((20, 28, 28), np.uint8), header=bytes([0, 0, 13, 3])), "is not an idx file"),
        (
            gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 9, 28, 28) + bytes(5)),
            "says it holds 9 x 28 x 28 bytes but has 5",
        ),
        (idx(np.zeros((19, 28, 28), np.uint8)), "has 19 images but 20 labels"),
    ],
    ids=["no gzip", "cut off", "two axes", "floats", "too short", "a label too many"],
)
def test_a_damaged_mnist_file_is_named(tmp_path, contents, message):
    write_mnist(tmp_path)
    (tmp_path / "mnist/t10k-images-idx3-ubyte.gz").write_bytes(contents)
    with pytest.raises(DataError, match=message):
        load_mnist("test", dest=tmp_path)


def test_digits_come_with_scikit_learn():
    x, y = load_digits()
    assert x.shape == (1797, 1, 8, 8)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert (x.min().item(), x.max().item()) == (0.0, 1.0)
    assert torch.bincount(load_digits(100)[1]).tolist() == [10] * 10


@pytest.mark.parametrize(("name", "size"), [("flower", (427, 640)), ("china", (427, 640)), ("portrait", (600, 512))])
def test_photographs_are_there_without_a_download(name, size):
    photograph = load_photograph(name)
    assert photograph.shape == (3, *size)
    assert photograph.dtype == torch.float32
    assert 0 <= photograph.min() < 0.1 < 0.9 < photograph.max() <= 1


def test_an_unknown_photograph_is_refused():
    with pytest.raises(ValueError, match="'flower', 'china' and 'portrait', not 'cat'"):
        load_photograph("cat")


def test_every_beginning_of_the_balanced_order_is_balanced():
    labels = np.repeat(np.arange(4), [5, 9, 5, 7])
    order = balanced_order(labels, seed=1)
    assert sorted(order.tolist()) == list(range(26))
    for n in range(1, 21):
        counts = np.bincount(labels[order[:n]], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_the_data_folder_is_named_by_argument_environment_course_or_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("DLCVKIT_DATA", raising=False)
    deep = tmp_path / "course/a1/deeper"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    outside = data_home()
    assert tmp_path not in outside.parents
    assert outside.name == "dlcvkit"
    (tmp_path / "course/MANIFEST.sha256").touch()
    assert data_home() == tmp_path / "course/data"
    (tmp_path / "course/a1/course.toml").touch()
    assert data_home() == tmp_path / "course/a1/data"
    monkeypatch.setenv("DLCVKIT_DATA", str(tmp_path / "set"))
    assert data_home() == tmp_path / "set"
    assert data_home(tmp_path / "given") == tmp_path / "given"
    assert data_home("relative") == deep / "relative"


def test_a_picture_of_one_channel_is_read_as_rgb(tmp_path):
    write_files(tmp_path)
    buffer = io.BytesIO()
    Image.new("L", (32, 32), 51).save(buffer, "PNG")
    (tmp_path / "test/airplane/0000.png").write_bytes(buffer.getvalue())
    x, _ = load_cifar10("test", dest=tmp_path)
    assert torch.allclose(x[0], torch.full((3, 32, 32), 0.2))
