"""The course's training loop, and update rules for it."""

from dlcvkit.training.checkpoint import CheckpointError
from dlcvkit.training.rules import Rule, torch_rule
from dlcvkit.training.solver import History, Model, Solver

__all__ = ["CheckpointError", "History", "Model", "Rule", "Solver", "torch_rule"]
