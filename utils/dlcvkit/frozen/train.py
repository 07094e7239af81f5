"""Train the kit's small CNN on CIFAR-10: ``python -m dlcvkit.frozen.train --out FILE``.

The weights in the kit came from this command; ``MODEL_CARD.md`` says with which figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from dlcvkit.data import DataError, MissingDataError, load_cifar10
from dlcvkit.data.cifar import CLASSES
from dlcvkit.frozen.network import FrozenNetwork, fold_batchnorms, small_cnn
from dlcvkit.frozen.weights import read_weights, write_weights

_MARGIN = 4
_BATCH = 256


def batch_size(images: int) -> int:
    """Return how many images a step takes: 256, fewer where that would make less than twenty steps per epoch."""
    return max(1, min(_BATCH, images // 20))


def batches(x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of augmented batches: a random crop out of a mirrored margin, and a random left-right flip.

    Args:
        x: Images, shape (N, C, H, W); not modified.
        y: Labels, shape (N,).
        generator: On the CPU; draws order, crops and flips.
    """
    n, _, height, width = x.shape
    padded = functional.pad(x, (_MARGIN,) * 4, mode="reflect")
    order = torch.randperm(n, generator=generator)
    size = batch_size(n)
    for rows in order.split(size):
        if len(rows) < size:
            return  # a last batch of three images would upset the running statistics
        top, left = torch.randint(2 * _MARGIN + 1, (2, len(rows), 1), generator=generator)
        flip = torch.rand(len(rows), 1, generator=generator) < 0.5
        across = torch.arange(width).expand(len(rows), width)
        across = torch.where(flip, across.flip(1), across) + left
        down = torch.arange(height) + top
        crops = padded[rows[:, None, None], :, down[:, :, None], across[:, None, :]]
        yield crops.permute(0, 3, 1, 2), y[rows]


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of images, from 0 to 1, whose highest score is that of their label."""
    with torch.no_grad():
        right = sum(int((network(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True))
    return right / len(y)


def train(x: Tensor, y: Tensor, *, epochs: int, seed: int, lr: float, progress: bool = True) -> FrozenNetwork:
    """Return a small CNN trained by SGD with a one-cycle learning rate, its batch norms folded.

    Args:
        x: At least 20 images, shape (N, 3, 32, 32), in [0, 1]; the network is trained on their device.
        y: Labels, shape (N,), int64.
        epochs: Passes over the images, at least 1.
        seed: Seed of weights, order, crops and flips.
        lr: Highest learning rate of the cycle.
        progress: Whether to show a progress bar.

    Source:
        Smith & Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    mean, std = x.mean(dim=(0, 2, 3)), x.std(dim=(0, 2, 3))
    x = (x - mean.reshape(1, 3, 1, 1)) / std.reshape(1, 3, 1, 1)
    features, head = small_cnn(trainable=True)
    model = nn.Sequential(features, head).to(x.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * (len(x) // batch_size(len(x)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.25)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    with tqdm(total=steps, unit="batch", disable=not progress) as bar:
        for _ in range(epochs):
            model.train()
            for images, labels in batches(x, y, generator):
                images = images.contiguous(memory_format=torch.channels_last)
                with torch.autocast(x.device.type, torch.bfloat16):
                    loss = loss_of(model(images), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
                if bar.n % 50 == 0:
                    bar.set_postfix(loss=f"{loss.item():.3f}")
    model.to(memory_format=torch.contiguous_format).eval()
    return FrozenNetwork("small CNN", fold_batchnorms(features), head, CLASSES, 32, mean.tolist(), std.tolist())


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write the weights and say how good they are; 2 if there is no CIFAR-10."""
    parser = argparse.ArgumentParser(prog="python -m dlcvkit.frozen.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file to write, safetensors")
    parser.add_argument("--data", help="data folder with CIFAR-10; the course's own by default")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args(arguments)
    if chosen.epochs < 1:
        parser.error("--epochs is at least 1")
    if not chosen.out.parent.is_dir():
        parser.error(f"--out: {chosen.out.parent} is no folder")
    try:
        x, y = load_cifar10("train", dest=chosen.data)
        x_test, y_test = load_cifar10("test", dest=chosen.data)
    except (DataError, MissingDataError) as error:
        print(f"train: {error}")
        return 2
    device = torch.device(chosen.device)
    began = time.monotonic()
    network = train(x.to(device), y.to(device), epochs=chosen.epochs, seed=chosen.seed, lr=chosen.lr).cpu()
    seconds = time.monotonic() - began
    about = {
        "classes": network.classes,
        "mean": network.mean.flatten().tolist(),
        "std": network.std.flatten().tolist(),
        "images": len(x),
        "epochs": chosen.epochs,
        "seed": chosen.seed,
        "lr": chosen.lr,
    }
    write_weights(chosen.out, network.features, network.classifier, about)  # type: ignore[arg-type]
    written = read_weights(chosen.out)
    right = accuracy(written, x_test, y_test)
    print(
        f"{chosen.out}: {chosen.out.stat().st_size:,} bytes, "
        f"{chosen.epochs} epochs on {len(x):,} images in {seconds:.0f} s, "
        f"{right:.2%} of {len(x_test):,} test images right with the weights as written"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
