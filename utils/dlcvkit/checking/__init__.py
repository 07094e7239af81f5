"""Checking of exercises against torch: declarations, protocols, comparison, diagnosis and reports."""

from dlcvkit.checking.cases import Case, Input, booleans, drawn, given, integers, labels, normal, uniform
from dlcvkit.checking.exercise import ComparedExercise, Exercise, Mistake, Speed
from dlcvkit.checking.findings import Finding, Kind, Quantity, Report
from dlcvkit.checking.forward_backward import ForwardBackward
from dlcvkit.checking.interrupted import Interrupted
from dlcvkit.checking.module import Module, gradients_by_autograd
from dlcvkit.checking.protocols import Function, Invariant, LossWithGradient, SavedAnswer
from dlcvkit.checking.registry import UnknownExercise, exercise_ids, exercises_of, find_exercise, stages
from dlcvkit.checking.render import Summary, as_html, as_json, as_text
from dlcvkit.checking.run import check_functions
from dlcvkit.checking.session import check, hidden_check
from dlcvkit.checking.specs import Hidden, SpecsNotFound, hidden_exercise, load_hidden, specs_folder
from dlcvkit.checking.stepper import Stepper
from dlcvkit.checking.watching import AUTOGRAD, READY_MADE_DISTANCES, TORCH_LAYERS, TORCH_OPTIM

__all__ = [
    "AUTOGRAD",
    "READY_MADE_DISTANCES",
    "TORCH_LAYERS",
    "TORCH_OPTIM",
    "Case",
    "ComparedExercise",
    "Exercise",
    "Finding",
    "ForwardBackward",
    "Function",
    "Hidden",
    "Input",
    "Interrupted",
    "Invariant",
    "Kind",
    "LossWithGradient",
    "Mistake",
    "Module",
    "Quantity",
    "Report",
    "SavedAnswer",
    "SpecsNotFound",
    "Speed",
    "Stepper",
    "Summary",
    "UnknownExercise",
    "as_html",
    "as_json",
    "as_text",
    "booleans",
    "check",
    "check_functions",
    "drawn",
    "exercise_ids",
    "exercises_of",
    "find_exercise",
    "given",
    "gradients_by_autograd",
    "hidden_check",
    "hidden_exercise",
    "integers",
    "labels",
    "load_hidden",
    "normal",
    "specs_folder",
    "stages",
    "uniform",
]
