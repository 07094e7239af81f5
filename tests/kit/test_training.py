"""The training loop: repeatable, resumable, and the best weights are kept whatever ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dlcvkit.layers import affine_backward, affine_forward, softmax_loss
from dlcvkit.training import CheckpointError, History, Solver, torch_rule


class Linear:
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.params = {"W": 0.01 * torch.randn(4, 3, generator=generator), "b": torch.zeros(3)}
        self.calls = 0
        self.before_loss: Callable[[int], None] = lambda call: None

    def loss(self, X: torch.Tensor, y: torch.Tensor | None = None) -> Any:
        scores, cache = affine_forward(X, self.params["W"], self.params["b"])
        if y is None:
            return scores
        self.calls += 1
        self.before_loss(self.calls)
        loss, dscores = softmax_loss(scores, y)
        _, dw, db = affine_backward(dscores, cache)
        return loss, {"W": dw, "b": db}


def data() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 4, generator=generator)
    y = x[:, :3].argmax(1)
    return x[:70], y[:70], x[70:], y[70:]


ADAM = torch_rule(torch.optim.Adam)


def solver(model: Linear, **options: Any) -> Solver:
    return Solver(model, *data(), **{"rule": ADAM, "lr": 0.05, "batch_size": 16, "progress": False, **options})


def test_training_learns_and_writes_down_what_happened():
    model = Linear()
    history = solver(model, epochs=20).train()
    assert history.ended == "finished"
    assert len(history.losses) == 20 * 5 and len(history.val_accuracies) == 20
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert max(history.val_accuracies) > 0.8


def test_the_model_ends_with_the_weights_of_its_best_epoch():
    model = Linear()
    found = solver(model, epochs=8, lr=1.0)
    found.train()
    assert found.accuracy(*data()[2:]) == found.best_accuracy == max(found.history.val_accuracies)


def test_equal_seeds_give_equal_runs_and_other_seeds_others():
    first, second, other = Linear(), Linear(), Linear()
    one = solver(first, epochs=3, seed=5).train()
    assert one == solver(second, epochs=3, seed=5).train()
    assert torch.equal(first.params["W"], second.params["W"])
    assert one.losses != solver(other, epochs=3, seed=6).train().losses


def test_a_run_that_was_interrupted_and_resumed_equals_an_undisturbed_one(tmp_path: Path):
    undisturbed = Linear()
    whole = solver(undisturbed, epochs=6).train()

    def interrupt(call: int) -> None:
        if call == 13:  # in the third epoch
            raise KeyboardInterrupt

    model = Linear()
    model.before_loss = interrupt
    path = tmp_path / "run.safetensors"
    first = solver(model, epochs=6, checkpoint=path)
    assert first.train().ended == "interrupted"
    assert len(first.history.losses) == 10
    assert torch.equal(model.params["W"], first.best_params["W"])

    resumed = Linear()
    history = solver(resumed, epochs=6, checkpoint=path).train()
    assert history.losses == whole.losses and history.val_accuracies == whole.val_accuracies
    assert torch.equal(resumed.params["W"], undisturbed.params["W"])

    again = first.train()  # the same without the file
    assert again.losses == whole.losses
    assert torch.equal(model.params["W"], undisturbed.params["W"])


def test_a_loss_that_is_no_number_ends_the_run_with_the_best_weights():
    model = Linear()
    found = solver(model, epochs=4)

    def explode(call: int) -> None:
        if call == 8:
            model.params["W"] = model.params["W"] * float("nan")

    model.before_loss = explode
    original = Linear.loss

    def loss(X: torch.Tensor, y: torch.Tensor | None = None) -> Any:
        result = original(model, X, y)
        return result if y is None or model.calls < 8 else (torch.tensor(float("nan")), result[1])

    model.loss = loss  # type: ignore[method-assign]
    assert found.train().ended == "diverged"
    assert bool(model.params["W"].isfinite().all())


def test_stop_and_schedule_are_asked():
    seen = []

    def schedule(step: int) -> float:
        seen.append(step)
        return 0.0

    model = Linear()
    before = model.params["W"].clone()
    history = solver(model, epochs=9, rule=None, schedule=schedule, stop=lambda h: len(h.val_accuracies) == 2).train()
    assert history.ended == "stopped" and seen == list(range(10))
    assert torch.equal(model.params["W"], before)


def test_a_checkpoint_of_another_run_or_a_broken_one_is_refused(tmp_path: Path):
    path = tmp_path / "run.safetensors"
    solver(Linear(), epochs=1, checkpoint=path).train()
    with pytest.raises(CheckpointError, match="other settings"):
        solver(Linear(), epochs=1, batch_size=8, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        solver(Linear(), epochs=1, checkpoint=path)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"epochs": 0}, {"lr": 0.0}, {"lr": float("nan")}], ids=str)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        solver(Linear(), **options)


def test_labels_that_do_not_go_with_the_images_are_refused():
    x, y, *rest = data()
    with pytest.raises(ValueError, match="70 and 69"):
        Solver(Linear(), x, y[:-1], *rest)


def test_torch_rules_remember_what_torch_does():
    generator = torch.Generator().manual_seed(0)
    w, gradients = torch.randn(3, generator=generator), torch.randn(10, 3, generator=generator)
    parameter = w.clone().requires_grad_()
    optimiser = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, nesterov=True)
    rule = torch_rule(torch.optim.SGD, momentum=0.9, nesterov=True)
    state: dict[str, Any] = {}
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
        w, state = rule(w, gradient, state, lr=0.1)
    assert torch.allclose(w, parameter.detach())


def test_a_new_history_is_empty():
    assert History() == History(losses=[], train_accuracies=[], val_accuracies=[], ended="")
