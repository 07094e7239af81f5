"""Student side of the course kit: checks, exercises, data, plotting."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcvkit.checking import check, hidden_check

__version__ = "0.1.0"

__all__ = ["__version__", "check", "hidden_check"]


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that `dlcvkit doctor` can say what is wrong with a broken installation of torch.
    if name in ("check", "hidden_check"):
        import dlcvkit.checking

        return getattr(dlcvkit.checking, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
