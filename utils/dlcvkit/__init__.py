"""Student side of the course kit: checks, exercises, data, plotting."""

from dlcvkit.checking import check, hidden_check

__version__ = "0.1.0"

__all__ = ["__version__", "check", "hidden_check"]
