"""A numbered notebook through papermill: its result goes to the report, its bars to this terminal."""

import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from radlib.errors import UserError
from radlib.progress import PROGRESS_FILE
from radlib.report.origin import is_committed
from radlib.report.pages import write_pages
from radlib.run.choose import check_unchanged
from radlib.run.stages import drop_unowned
from radlib.store import atomic_path
from radlib.study import load_study


def run_notebook(name: str, parameters: dict[str, str]) -> Path:
    """Execute `notebooks/<name>.ipynb` with `save=True`; the result goes to the report, cleaned.

    Every parameter is given here, so what somebody left in the first cell of a notebook changes nothing.

    Raises:
        UserError: no such notebook or parameter; or the notebook stopped: its sentence is passed on, the
            half-run notebook kept in `logs/`.
    """
    study = load_study()
    check_unchanged(study)
    source = study.root / "notebooks" / f"{name}.ipynb"
    _check_parameters(source, parameters)
    title = "-".join([name, *parameters.values()])
    target = study.report_dir / "notebooks" / f"{title}.ipynb"
    failed = study.root / "logs" / f"{title}.ipynb"
    failed.parent.mkdir(exist_ok=True)
    if not is_committed(study.root, name):
        print(f"Note: notebooks/{name}.ipynb is not the committed one; its changes go into this report.")
    with tempfile.TemporaryDirectory() as folder, _terminal_progress(Path(folder) / "progress"):
        executed = Path(folder) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                source,
                executed,
                {**parameters, "overrides": {}, "save": True},
                kernel_name="python3",
                cwd=study.root,
                progress_bar=False,
                kernel_manager_class=_private_kernel(Path(folder)),
            )
        except (PapermillExecutionError, DeadKernelError) as exc:
            shutil.copyfile(executed, failed)
            raise UserError(_reason(exc, title, failed)) from exc
        notebook = clean(nbformat.read(executed, as_version=4))
    with atomic_path(target) as temporary:
        nbformat.write(notebook, temporary)
    if name == "17_summary":
        drop_unowned(study)  # the pages are of what is left
        write_pages(study.report_dir, study.title)
    print(f"Read {target.relative_to(study.root)}")
    return target


def _reason(exc: PapermillExecutionError | DeadKernelError, title: str, failed: Path) -> str:
    """Why the notebook stopped; a user's mistake in its own words."""
    if isinstance(exc, DeadKernelError):
        return (
            f"the process of notebook {title} was killed, as happens when memory is full; free some, or "
            "set compute: {workers: 1} in params.yaml, and start again: what is finished is kept "
            f"({failed} shows how far it came)"
        )
    if exc.ename == "UserError":
        return exc.evalue
    return f"notebook {title} failed ({exc.ename}: {exc.evalue}); {failed} shows at which cell"


def _check_parameters(source: Path, parameters: dict[str, str]) -> None:
    """Papermill would run a notebook with a misspelt parameter as if it had not been given."""
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in source.parent.glob("*.ipynb")))
        raise UserError(f"no notebook {source}; there are: {known}")
    cells = nbformat.read(source, as_version=4).cells
    first = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    known = re.findall(r"^(\w+)\s*=", first, re.MULTILINE)
    if re.search(r"^overrides\s*=(?!\s*\{\s*\})", first, re.MULTILINE):
        print(f"Note: overrides in notebooks/{source.name} count by hand alone; params.yaml counts here.")
    for name in parameters:
        if name not in known:
            raise UserError(
                f"notebook {source.stem} has no parameter '{name}'; its first cell has: {', '.join(known)}"
            )


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs between two equal executions: times, versions of the front end, papermill's id."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"  # papermill's own is another one each time
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook


def _private_kernel(folder: Path) -> type[AsyncKernelManager]:
    """Kernels that are reached through files of this user in `folder`, not through ports of the machine."""

    class PrivateKernel(AsyncKernelManager):
        def __init__(self, **options):
            super().__init__(**{**options, "transport": "ipc", "ip": str(folder / "kernel")})

        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            # python -m ipykernel_launcher ... -> the same, forked where a warm process waits
            python, _, *rest = super().format_kernel_cmd(extra_arguments)
            return [python, "-m", "radlib.run.warm", *rest]

    return PrivateKernel


@contextmanager
def _terminal_progress(path: Path) -> Iterator[None]:
    """Show on this terminal the bars that a notebook's kernel draws into a file."""
    path.touch()
    os.environ[PROGRESS_FILE] = str(path)
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(path, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.environ.pop(PROGRESS_FILE)
        sys.stderr.write("\n")


def _follow(path: Path, ended: threading.Event) -> None:
    with path.open() as lines:
        while not ended.wait(0.5):
            # A log wants lines, a terminal wants the bar to stay where it is.
            text = lines.read()
            if text and sys.stderr.isatty():
                sys.stderr.write(text)
            elif text:
                sys.stderr.write(re.split(r"[\r\n]+", text.strip())[-1] + "\n")
            sys.stderr.flush()
