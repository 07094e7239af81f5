"""The answer that is handed in as a file: written whole, evaluated on fresh images, never silently given up on."""

import pytest
import torch
from safetensors.torch import load_file

from dlcvkit import answers
from dlcvkit.answers import evaluate_linear_answer, rows_with_bias, save_linear_answer
from dlcvkit.checking import check_functions, find_exercise
from dlcvkit.checking.render import reason
from dlcvkit.data import MissingDataError


def write_answer(path, dataset="shapes"):
    save_linear_answer(path, torch.zeros(3073, 10), torch.zeros(3), torch.ones(3), dataset)
    return load_file(path)


@pytest.fixture
def without_cifar(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCVKIT_DATA", str(tmp_path / "empty"))
    answers._test_images.cache_clear()
    yield
    answers._test_images.cache_clear()


def test_rows_end_with_one_and_are_normalised():
    images = torch.arange(2 * 3 * 2 * 1, dtype=torch.float32).reshape(2, 3, 2, 1)
    rows = rows_with_bias(images, torch.tensor([0.5, 2.5, 4.5]), torch.tensor([0.5, 0.5, 0.5]))
    assert rows[0].tolist() == [-1, 1, -1, 1, -1, 1, 1]
    assert rows.shape == (2, 7)


def test_an_untrained_answer_earns_the_file_alone(tmp_path):
    verdicts = evaluate_linear_answer(write_answer(tmp_path / "w.safetensors"), seed=1, count=200)
    assert verdicts["file"] is None
    assert "10.0% of 200 test images (shapes) are right; expected at least 25%" in str(verdicts["fair"])
    assert verdicts["good"] is not None


def test_an_unknown_dataset_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ValueError, match="dataset is 'imagenet'"):
        write_answer(tmp_path / "w.safetensors", "imagenet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"W": torch.zeros(3072, 10)}, "W has shape"),
        ({"W": torch.full((3073, 10), torch.inf)}, "not finite"),
        ({"W": torch.zeros(3073, 10, dtype=torch.int64)}, "not finite real"),
        ({"std": torch.zeros(3)}, "std has entries that are not positive"),
        ({"dataset": torch.tensor([-1, 999])}, "dataset is not the name"),
        ({"extra": torch.zeros(1)}, "holds W, dataset, extra"),
    ],
)
def test_a_malformed_file_loses_the_points_and_raises_nothing(tmp_path, change, text):
    tensors = {**write_answer(tmp_path / "w.safetensors"), **change}
    verdicts = evaluate_linear_answer(tensors, seed=1, count=10)
    assert all(text in str(verdicts[name]) for name in ("file", "fair", "good"))


def test_an_answer_on_absent_images_is_not_judged(tmp_path, without_cifar):
    with pytest.raises(MissingDataError, match="trained on CIFAR-10"):
        evaluate_linear_answer(write_answer(tmp_path / "w.safetensors", "cifar10"), seed=1, count=10)


def test_the_report_says_that_it_could_not_check(tmp_path, without_cifar):
    path = tmp_path / "w.safetensors"
    write_answer(path, "cifar10")
    report = check_functions(find_exercise("a1/linear_answer"), (path,))
    assert report.verdict == "could_not_check"
    assert report.problem is not None
    assert "could not be checked (MissingDataError)" in reason(report.problem, is_hidden=True)
