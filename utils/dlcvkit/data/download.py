"""The command behind ``data_download.sh``: fetch, list and verify datasets."""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .errors import DataError
from .home import data_home
from .manifest import Dataset, RemoteFile, load_manifest
from .store import State, fetch_dataset, inspect_dataset, mirror_base

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def download(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...|all]", help="what to fetch")] = None,
    dest: Annotated[Path | None, typer.Option(help="folder for the data; else $DLCVKIT_DATA, else ./data")] = None,
    mirror: Annotated[str | None, typer.Option(metavar="URL|PATH", help="take every file from here instead")] = None,
    manifest: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML with further or other entries")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="compute the checksums of what is here again")] = False,
    show: Annotated[bool, typer.Option("--list", help="say what there is, where it comes from, what is here")] = False,
) -> int:
    """Fetch the course's datasets, with checksums; an interrupted download goes on where it stopped."""
    known = load_manifest(manifest)
    home = data_home(dest)
    chosen = choose(names or [], known)
    if show:
        for dataset in chosen or known.values():
            typer.echo(describe(dataset, home))
        return 0
    if verify:
        return _verify(chosen or list(known.values()), home, named=bool(chosen))
    if not chosen:
        raise DataError(f"name what to fetch: {', '.join(known)} or all; --list says what they are")
    return _fetch(chosen, home, mirror_base(mirror) if mirror is not None else None)


def choose(names: Sequence[str], known: dict[str, Dataset]) -> list[Dataset]:
    """Return the datasets that are named, each once, in the order of ``names``.

    Raises:
        DataError: If a name is unknown; the text suggests the nearest one.
    """
    for name in names:
        if name not in known and name != "all":
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            suggestion = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)} and all"
            raise DataError(f"unknown dataset {name!r}; {suggestion}")
    return list(known.values()) if "all" in names else [known[name] for name in dict.fromkeys(names)]


def describe(dataset: Dataset, home: Path) -> str:
    """Return what ``--list`` says about a dataset: a line for it, and one for each file."""
    findings = inspect_dataset(dataset, home, thorough=False)
    states = {finding.state for finding in findings}
    state = states.pop().value if len(states) == 1 else "partly here"
    lines = [f"{dataset.name} [{state}]  {dataset.title}"]
    return "\n".join([*lines, *(f"    {_describe_file(finding.file)}" for finding in findings)])


def _describe_file(file: RemoteFile) -> str:
    size = "size not published"
    if file.size is not None:
        size = f"{file.size / 1e6:,.1f} MB" if file.size >= 1e6 else f"{file.size / 1e3:,.1f} kB"
    if not file.digest:
        return (
            f"{file.name}  {size}  no checksum: only the size is checked" if file.size else f"{file.name}  not checked"
        )
    return f"{file.name}  {size}  {file.identity}" + (f" ({file.checksum_note})" if file.checksum_note else "")


def _verify(datasets: list[Dataset], home: Path, *, named: bool) -> int:
    seen = failed = 0
    for dataset in datasets:
        for finding in inspect_dataset(dataset, home, thorough=True):
            if finding.state is State.DAMAGED:
                complain(f"{dataset.name}: {finding.reason}; ./data_download.sh {dataset.name} mends it")
            elif finding.state is State.MISSING and named:
                complain(f"{dataset.name}: {finding.file.name} is not in {home}")
            elif finding.state is State.HERE:
                unchecked = "" if finding.file.digest else ", no checksum known"
                typer.echo(f"{dataset.name}: {finding.file.name} is intact{unchecked}")
            seen += finding.state is not State.MISSING
            failed += finding.state is State.DAMAGED or (finding.state is State.MISSING and named)
    if not seen and not named:
        typer.echo(f"there is nothing to verify in {home}")
    return 2 if failed else 0


def _fetch(datasets: list[Dataset], home: Path, mirror: str | None) -> int:
    failed = False
    for dataset in datasets:
        try:
            changed = fetch_dataset(dataset, home, mirror=mirror)
        except DataError as error:
            complain(f"{dataset.name}: {error}")
            failed = True
        except KeyboardInterrupt:
            complain(f"{dataset.name}: interrupted; run again to go on")
            return 130
        else:
            typer.echo(f"{dataset.name}: {'fetched to' if changed else 'already here, nothing to do:'} {home}")
    return 2 if failed else 0


def complain(message: str) -> None:
    """Print one line on stderr."""
    typer.echo(f"data_download: {' '.join(message.split())}", err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 not, 130 interrupted.

    Args:
        arguments: The command line without the program's name; None for the process's own.
    """
    command = typer.main.get_command(app)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(command.main(given, prog_name="data_download.sh", standalone_mode=False) or 0)
    except (DataError, typer.BadParameter) as error:
        complain(str(error))
    except BrokenPipeError:
        # The reader of our output has gone, as in `--list | head`; Python must not fail again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        complain(f"{error.filename or 'the data folder'}: {error.strerror or error}")
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        # typer keeps the class of its usage errors to itself, and it differs between its versions.
        if not hasattr(error, "format_message"):
            raise
        complain(f"{error.format_message().rstrip('.')}; --help shows the options")
    return 2


if __name__ == "__main__":
    sys.exit(main())
