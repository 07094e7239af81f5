"""Choose part of a dataset so that every class keeps its share."""

import numpy as np
import numpy.typing as npt


def balanced_order(labels: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Return a shuffled order of all rows in which every beginning is as balanced as it can be.

    One row of each class comes first, in random order, then the next of each, and so on; when a class runs out, the
    others go on. So the first n are a balanced subset, and part of every larger one.

    Args:
        labels: Class of each row; shape (N,).
        seed: Seed of the shuffle.

    Returns:
        A permutation of 0 … N-1; shape (N,).
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    # Within a class, in shuffled order, number the rows 0, 1, 2, …
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels, minlength=1)
    rank_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return grouped[np.lexsort((generator.random(len(labels)), rank_in_class))].astype(np.int64)


def choose_rows(labels: npt.NDArray[np.int64], n: int | None, seed: int, source: str) -> npt.NDArray[np.int64]:
    """Return the rows of a balanced subset of ``n``, or all rows in their own order if ``n`` is None.

    Args:
        labels: Class of each row; shape (N,).
        n: How many rows; 1 … N, or None.
        seed: Seed of the choice.
        source: Name of the dataset, for the message.

    Raises:
        ValueError: If ``n`` is not between 1 and N.
    """
    if n is None:
        return np.arange(len(labels), dtype=np.int64)
    if not 1 <= n <= len(labels):
        raise ValueError(f"{source} has {len(labels)} images; n is {n}")
    return balanced_order(labels, seed)[:n]
