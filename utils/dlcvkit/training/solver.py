"""The training loop of the course: seeded, on any device, resumed from a file, interrupted without loss."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dlcvkit.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from dlcvkit.training.rules import Rule, torch_rule

_EVALUATED_AT_ONCE = 500
_FORMAT = 1


class Model(Protocol):
    """What a solver trains: weights by name, and a loss.

    Attributes:
        params: Name to weight. The solver puts new tensors in; it modifies none.
    """

    params: MutableMapping[str, Tensor]

    def loss(self, X: Tensor, y: Tensor | None = None) -> Any:
        """Return scores (N, K) if ``y`` is None, else ``(loss, gradients)``, gradients under the weights' names."""


@dataclass
class History:
    """What a training run has written down.

    Attributes:
        losses: Loss of the batch at every step.
        train_accuracies: Share of right answers on (part of) the training images after every epoch, from 0 to 1.
        val_accuracies: The same on the validation images.
        ended: Why the run is not going on: ``finished``, ``interrupted``, ``diverged`` (the loss is no number any
            more) or ``stopped`` (``stop`` said so); empty while it runs.
    """

    losses: list[float] = field(default_factory=list)
    train_accuracies: list[float] = field(default_factory=list)
    val_accuracies: list[float] = field(default_factory=list)
    ended: str = ""


class Solver:
    """Trains a model by stochastic gradient descent and leaves the best weights of any epoch in it.

    Batches are drawn without replacement, epoch by epoch, from a generator of the solver's own. Two runs with the same
    seed, data and first weights are bit-equal on one machine; so is one that was stopped and resumed.

    Args:
        model: What to train; its ``params`` are replaced.
        x_train: Training images, shape (N, ...), on the model's device.
        y_train: Their labels, shape (N,), int64.
        x_val: Validation images, shape (M, ...); the epoch with the highest accuracy on them counts as the best.
        y_val: Their labels, shape (M,).
        rule: Update rule; torch's SGD if None.
        lr: Learning rate, above 0.
        schedule: Maps the step, counted from 0, to a factor for ``lr``; None keeps it constant.
        batch_size: Images per step, at least 1; the last batch of an epoch may be smaller.
        epochs: Passes over the training images, at least 1.
        seed: Seed of the order of the images.
        transform: Called as ``transform(x, generator)`` on every training batch, such as an augmentation.
        stop: Called after every epoch with the history; True ends the training.
        checkpoint: File that the run is written to after every epoch, and resumed from if it is there.
        progress: Whether to show a progress bar with loss and accuracy.

    Raises:
        ValueError: If a number is out of range, or there is no training or validation image.
        CheckpointError: If ``checkpoint`` holds another run, or is no checkpoint.
    """

    def __init__(
        self,
        model: Model,
        x_train: Tensor,
        y_train: Tensor,
        x_val: Tensor,
        y_val: Tensor,
        *,
        rule: Rule | None = None,
        lr: float = 1e-3,
        schedule: Callable[[int], float] | None = None,
        batch_size: int = 100,
        epochs: int = 10,
        seed: int = 0,
        transform: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        stop: Callable[[History], bool] | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = True,
    ) -> None:
        if batch_size < 1 or epochs < 1:
            raise ValueError(f"batch_size is {batch_size} and epochs {epochs}; expected at least 1 of each")
        if not 0 < lr < math.inf:
            raise ValueError(f"lr is {lr}; expected a positive number")
        if not len(x_train) == len(y_train) > 0 or not len(x_val) == len(y_val) > 0:
            counts = f"{len(x_train)} and {len(y_train)}, {len(x_val)} and {len(y_val)}"
            raise ValueError(f"images and labels number {counts}; expected as many of each, and at least one")
        self.model = model
        self._train, self._val = (x_train, y_train), (x_val, y_val)
        self._rule = rule or torch_rule(torch.optim.SGD)
        self._lr, self._schedule = lr, schedule
        self._batch_size, self._epochs, self._seed = batch_size, epochs, seed
        self._transform, self._stop, self._progress = transform, stop, progress
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._generator = torch.Generator().manual_seed(seed)
        self._states: dict[str, Any] = {name: {} for name in model.params}
        self._epoch = 0
        self.history = History()
        self.best_accuracy = -1.0
        self.best_params = dict(model.params)
        self._latest = dict(model.params)
        if self._checkpoint is not None and self._checkpoint.exists():
            self._resume(self._checkpoint)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that one pass over the training images takes: ``ceil(N / batch_size)``."""
        return -(-len(self._train[0]) // self._batch_size)

    def train(self) -> History:
        """Train until all epochs are done; an interrupt (Ctrl-C, Jupyter's stop button) ends it in good order.

        Returns:
            The history. The model holds the best weights in any case; those of the last step if no epoch was
            finished. Calling ``train`` again after an interrupt goes on where the last whole epoch ended.
        """
        history = self.history
        history.ended = ""
        self._put(self._latest)
        total = self._epochs * self.steps_per_epoch
        with tqdm(total=total, initial=len(history.losses), desc="training", disable=not self._progress) as bar:
            try:
                while self._epoch < self._epochs and not history.ended:
                    is_finite = self._run_epoch(bar)
                    self._latest = dict(self.model.params)
                    if not is_finite:
                        history.ended = "diverged"
                    elif self._stop is not None and self._stop(history):
                        history.ended = "stopped"
                history.ended = history.ended or "finished"
            except KeyboardInterrupt:
                history.ended = "interrupted"
        if self.best_accuracy >= 0:
            self._put(self.best_params)
        return history

    def _run_epoch(self, bar: Any) -> bool:
        """Run one epoch; return whether the loss has stayed a number."""
        x, y = self._train
        done = len(self.history.losses)
        before = self._generator.get_state(), dict(self._states)
        try:
            for rows in torch.randperm(len(x), generator=self._generator).split(self._batch_size):
                if not self._step(x[rows.to(x.device)], y[rows.to(y.device)]):
                    return False
                bar.update()
                bar.set_postfix(self._shown(), refresh=False)
            train, val = self.accuracy(x[:1000], y[:1000]), self.accuracy(*self._val)
        except KeyboardInterrupt:
            del self.history.losses[done:]
            self._generator.set_state(before[0])
            self._states = before[1]
            raise
        self._epoch += 1
        self.history.train_accuracies.append(train)
        self.history.val_accuracies.append(val)
        if val > self.best_accuracy:
            self.best_accuracy, self.best_params = val, dict(self.model.params)
        bar.set_postfix(self._shown())
        if self._checkpoint is not None:
            save_checkpoint(self._checkpoint, self._as_tree())
        return True

    def _shown(self) -> dict[str, str]:
        history = self.history
        shown = {"loss": f"{sum(history.losses[-20:]) / len(history.losses[-20:]):.3f}"}
        if history.val_accuracies:
            shown["val"] = f"{history.val_accuracies[-1]:.1%}"
        return shown

    def _step(self, x: Tensor, y: Tensor) -> bool:
        """Take one step; return whether the loss is still a number."""
        if self._transform is not None:
            x = self._transform(x, self._generator)
        loss, gradients = self.model.loss(x, y)
        if not math.isfinite(float(loss)):
            return False
        step = len(self.history.losses)
        lr = self._lr * (1.0 if self._schedule is None else self._schedule(step))
        self.history.losses.append(float(loss))
        for name, w in list(self.model.params.items()):
            self.model.params[name], self._states[name] = self._rule(w, gradients[name], self._states[name], lr=lr)
        return True

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """Return the share of images, from 0 to 1, that the model's present weights get right.

        Args:
            x: Images, shape (N, ...).
            y: Labels, shape (N,).
        """
        right = 0
        for images, labels in zip(x.split(_EVALUATED_AT_ONCE), y.split(_EVALUATED_AT_ONCE), strict=True):
            right += int((self.model.loss(images).argmax(dim=1) == labels).sum())
        return right / len(x)

    def _put(self, params: dict[str, Tensor]) -> None:
        for name, value in params.items():
            self.model.params[name] = value

    def _settings(self) -> dict[str, Any]:
        shapes = {name: list(value.shape) for name, value in self.model.params.items()}
        return {
            "format": _FORMAT,
            "seed": self._seed,
            "batch_size": self._batch_size,
            "lr": self._lr,
            "images": len(self._train[0]),
            "shapes": shapes,
        }

    def _as_tree(self) -> dict[str, Any]:
        return {
            "settings": self._settings(),
            "epoch": self._epoch,
            "history": asdict(self.history),
            "best_accuracy": self.best_accuracy,
            "generator": self._generator.get_state(),
            "params": dict(self.model.params),
            "best_params": self.best_params,
            "states": self._states,
        }

    def _resume(self, path: Path) -> None:
        device = next(iter(self.model.params.values())).device
        tree = load_checkpoint(path, device)
        if tree.get("settings") != self._settings():
            raise CheckpointError(f"{path} belongs to a run with other settings or weights; delete it to start anew")
        self._epoch, self.best_accuracy = tree["epoch"], tree["best_accuracy"]
        self.history = History(**tree["history"])
        self._generator.set_state(tree["generator"].cpu())
        self._latest = tree["params"]
        self._put(self._latest)
        self.best_params, self._states = tree["best_params"], tree["states"]
