"""Where datasets lie."""

import os
from pathlib import Path

MARKERS = ("course.toml", "MANIFEST.sha256")


def data_home(dest: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds the datasets; it need not exist yet.

    A folder beside the notebooks is preferred to a cache, because it is seen, copied to other machines and deleted
    together with the course.

    Args:
        dest: The folder to use, if the caller knows it.

    Returns:
        ``dest``; else the environment variable ``DLCVKIT_DATA``; else ``data`` in the nearest folder, from the current
        one upwards, that holds ``course.toml`` or ``MANIFEST.sha256``; else the platform's cache folder for dlcvkit.
    """
    chosen = os.fspath(dest) if dest is not None else os.environ.get("DLCVKIT_DATA", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if any((folder / marker).is_file() for marker in MARKERS):
            return folder / "data"
    # Imported here because it costs a tenth of a second that no notebook inside a course folder needs to pay.
    import pooch

    return Path(pooch.os_cache("dlcvkit"))
