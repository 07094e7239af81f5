"""Every sentence that a check can say to a student. Tests match these, so wording changes in one place."""

from __future__ import annotations

from collections.abc import Sequence

NOT_WRITTEN = "{name} is not written yet"
NOT_WRITTEN_HINT = "write the code where it says YOUR CODE HERE, run that cell, then run this one"
NOT_CALLABLE = "{name} is {what}; expected a function"
WRONG_COUNT = "{exercise} takes {expected} ({names}); got {got}"
RAISED = "{name} raised {error}"
RETURNED_NONE = "returned None; expected {expected}"
RETURNED_NONE_HINT = "end the function with a return statement"
WRONG_STRUCTURE = "is {got}; expected {expected}"
WRONG_TUPLE = "{name} returned {got}; expected a tuple of {count}: {names}"
WRONG_KEYS = "has the keys {got}; expected {expected}"
WRONG_DTYPE = "has dtype {got}; expected {expected}"
WRONG_SHAPE = "has shape {got}; expected {expected}"
WRONG_DEVICE = "is on {got}; expected {expected}, where the inputs are"
NO_PARAMS = "{name} has {got} under params; expected a dict of name to weight"
PARAM_NAMES = "params of {name} has the names {got}; expected {expected}"
PARAM_SHAPE = "params[{key!r}] of {name} has shape {got}; expected {expected}"
NOT_A_MODULE = "{name}(...) is {got}; expected a torch.nn.Module"
STATE_LACKS = "the state dict of {name} lacks {lacking}"
STATE_INSTEAD = "; it has {more} instead"
STATE_MORE = "the state dict of {name} has entries that the exercise has not: {more}"
STATE_NAMES_HINT = (
    "weights are named by attribute, or by position in a sequence; the docstring says which ones there are"
)
STATE_BIAS_HINT = "which layers have a bias? see the docstring"
NOT_FINITE = "has {what} in {count} of {total} entries; expected finite values"
MUTATED = "{names} changed while the function ran; expected inputs left as they were"
MUTATED_HINT = "make a new tensor: x = x - 1 instead of x -= 1, or work on x.clone()"
FORBIDDEN = "uses {op}, which this exercise wants written by hand"
LOOP = "{name} has a loop in line {line}; expected none"
LOOP_HINT = "let whole-tensor operations and broadcasting do the repeating"
RANDOM = "gives another result when the global random state changes; expected the same for the same inputs"
RANDOM_HINT = "draw random numbers from the generator that is passed in, or draw none"
HOMELESS = "would break on a GPU: {what}"
HOMELESS_MIX = "line {line} combines an input with a tensor made without device="
HOMELESS_RESULT = "the result was made without device="
HOMELESS_HINT = "make tensors with device=x.device, or with x.new_zeros, torch.zeros_like and the like"
DIFFERS = "differs from the reference in {count} of {total} entries"
FIRST = "{where} is {got}; expected {expected}"
OWN_EXCEPTION = "an exception of its own"
SIGNATURE_HINT = "keep the arguments that the function had in the cell you were given"
NOT_EXAMINED = "cannot be examined, because the function did not return what its docstring says"
RAISED_AT = "line {line}: {code}"
ALL_ZERO = "is all zeros; expected other values"
HIDDEN_FAILS = "fails in a hidden case{case}"
HIDDEN_RAISED = "{name} raised {error} in a hidden case{case}"
SLOW = (
    "{name} could be {ratio:.1f} times faster: the loop version needs {slow:.1f} ms, this one {fast:.1f} ms; "
    "expected a speed-up of at least {factor:g}"
)
HIDDEN_REFERENCE_FAILED = "could not be checked ({error}); this is a fault of the check, not of your code"
REFERENCE_FAILED = "the reference itself failed ({error}); this is a fault of the check, not of your code"
ANSWER_MISSING = "{path} does not exist; expected a safetensors file"
ANSWER_MISSING_HINT = "run the cell that trains and saves the answer, then run this one"
ANSWER_UNREADABLE = "{path} cannot be read as safetensors"
ANSWER_LARGE = "{path} has {size} bytes; expected at most {limit}"

UNDEFINED = "{name} is not defined in {notebook}"
NO_ANSWER_CELL = "{notebook} has no cell check({exercise!r}, ...) that names the file"
STOPPED = "{doing} ran longer than {seconds:g} s and was stopped"
ENDED = "Python ended while {doing} ran (exit code {code})"
NOT_COMPUTED = "{text}; {name} was not computed: {why}"
NOT_COMPUTED_HINT = "compute {name} inside the function, or give it a plain value"

SUMMARY_TITLE = "checked so far"
SUMMARY_EMPTY = "nothing has been checked in this session yet"

FACTOR = "exactly {factor} times the expected value"
FACTOR_NAMED = "exactly {factor} times the expected value; {factor} is {name}"
SIGN = "exactly the expected value with the opposite sign"
OFFSET = "off by the same amount everywhere"
TRANSPOSED = "right once it is transposed"
PERMUTED = "right once its axes are put in the order {order}"
SHIFTED = "right once it is shifted by {by} along axis {axis}"
SWAPPED = "what {other} should be"
ROOT = "the square root of the expected value"
SQUARE = "the square of the expected value"
EXPONENTIAL = "the exponential of the expected value"
LOGARITHM = "the logarithm of the expected value"
MULTIPLE_OF_INPUT = "off by a multiple of {name} ({factor:g} times it)"
MULTIPLE_OF_INPUT_HIDDEN = "off by a multiple of {name}"
ONLY_DIAGONAL = "right on the diagonal only"
ONLY_OFF_DIAGONAL = "right everywhere but on the diagonal"
ONLY_BORDER = "right everywhere but on the border"
ONLY_ROWS = "right in {right} of {total} rows only"
ONLY_ONE_INDEX = "right everywhere but at index {index} of axis {axis}"
ALL_BUT_ONE_INDEX = "right at index {index} of axis {axis} only"
NOT_REDUCED = "right once it is {how} over {axes}"
NOT_SQUEEZED = "right once its axes of length 1 are dropped"

HINTS = {
    "factor": "look at what you divide or multiply by, and how often",
    "sign": "look at the sign of the last step",
    "offset": "a term that is the same for all entries is missing or added once too often",
    "axes": "look at which axis each operation runs over",
    "shift": "look at where the index starts and ends",
    "swap": "look at the order in which you return the results",
    "power": "look at whether this quantity is squared, rooted, or neither",
    "term": "look at the term with {name}: it is missing, doubled, or has the wrong sign",
    "part": "look at the entries that are wrong and what they have in common",
}


def listing(names: Sequence[str]) -> str:
    """Return names as a phrase: ``x``, ``x and y``, ``x, y and z``."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last


def number(value: float) -> str:
    """Return a number with four significant digits, as in every report."""
    return f"{value:.4g}"
