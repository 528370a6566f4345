"""A numbered notebook through papermill: its result goes to the report, its bars to this terminal."""

import os
import re
import shutil
import sys
import tempfile
import threading
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
        except PapermillExecutionError as exc:
            shutil.copyfile(executed, failed)
            if exc.ename == "UserError":
                raise UserError(exc.evalue) from exc
            raise UserError(
                f"notebook {title} failed ({exc.ename}: {exc.evalue}); {failed} shows at which cell"
            ) from exc
        except DeadKernelError as exc:
            shutil.copyfile(executed, failed)
            raise UserError(
                f"the process of notebook {title} was killed, as happens when memory is full; free some, or "
                "set compute: {workers: 1} in params.yaml, and start again: what is finished is kept "
                f"({failed} shows how far it came)"
            ) from exc
        notebook = clean(nbformat.read(executed, as_version=4))
    with atomic_path(target) as temporary:
        nbformat.write(notebook, temporary)
    if name == "07_summary":
        write_pages(study.report_dir, study.title)
    print(f"Read {target.relative_to(study.root)}")
    return target


def _check_parameters(source: Path, parameters: dict[str, str]) -> None:
    """Papermill would run a notebook with a misspelt parameter as if it had not been given."""
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in source.parent.glob("*.ipynb")))
        raise UserError(f"no notebook {source}; there are: {known}")
    cells = nbformat.read(source, as_version=4).cells
    first = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    known = re.findall(r"^(\w+)\s*=", "\n".join(first), re.MULTILINE)
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


class _terminal_progress:  # noqa: N801
    """Show on this terminal the bars that a notebook's kernel draws into a file."""

    def __init__(self, path: Path):
        self.path, self.stop = path, threading.Event()

    def __enter__(self) -> None:
        self.path.touch()
        os.environ[PROGRESS_FILE] = str(self.path)
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def __exit__(self, *_) -> None:
        self.stop.set()
        self.thread.join()
        os.environ.pop(PROGRESS_FILE, None)
        sys.stderr.write("\n")

    def _follow(self) -> None:
        with self.path.open() as lines:
            while not self.stop.wait(0.5):
                # A log wants lines, a terminal wants the bar to stay where it is.
                text = lines.read()
                if text and sys.stderr.isatty():
                    sys.stderr.write(text)
                elif text:
                    sys.stderr.write(re.split(r"[\r\n]+", text.strip())[-1] + "\n")
                sys.stderr.flush()
