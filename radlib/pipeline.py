"""What `dvc.yaml` and the Makefile call: choose a study, run a notebook, keep the record.

python -m radlib.pipeline choose --study open --raw /where/my/downloads/are
python -m radlib.pipeline check-data --study open --raw /where/my/downloads/are
python -m radlib.pipeline plan --study paper --devices 8
python -m radlib.pipeline notebook 03_transfer task=thyroid_us
python -m radlib.pipeline checkpoint imagenet
python -m radlib.pipeline record
python -m radlib.pipeline verify --study open
"""

import argparse
import json
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
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from radlib.data.check_data import check_data, report
from radlib.data.records import GENERATORS, holds_something
from radlib.datasets import READERS
from radlib.errors import UserError
from radlib.progress import PROGRESS_FILE
from radlib.store import atomic_path, write_json
from radlib.study import Study, load_study


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake prints one sentence and returns 1."""
    parser = argparse.ArgumentParser(prog="python -m radlib.pipeline")
    commands = parser.add_subparsers(dest="command", required=True)
    choose_parser = commands.add_parser("choose", help="make a study file the one that dvc repro runs")
    choose_parser.add_argument("--study", default="")
    choose_parser.add_argument("--raw", default="")
    check_parser = commands.add_parser("check-data", help="say which data a study finds, and what is wrong")
    check_parser.add_argument("--study", default="")
    check_parser.add_argument("--raw", default="")
    check_parser.add_argument("--quick", action="store_true", help="count only, open no image")
    plan_parser = commands.add_parser("plan", help="say what a study will cost, after a short calibration")
    plan_parser.add_argument("--study", default="")
    plan_parser.add_argument("--devices", type=int, help="graphics cards or cores; default: this machine's")
    notebook_parser = commands.add_parser("notebook", help="run a numbered notebook through papermill")
    notebook_parser.add_argument("name")
    notebook_parser.add_argument("parameters", nargs="*", metavar="key=value")
    checkpoint_parser = commands.add_parser("checkpoint", help="check and import published weights")
    checkpoint_parser.add_argument("name")
    commands.add_parser("record", help="put predictions, dvc.lock and the provenance into the report")
    verify_parser = commands.add_parser("verify", help="compute a committed report again and compare")
    verify_parser.add_argument("--study", default="")
    verify_parser.add_argument("--retrain", action="store_true", help="the whole study, in a clone")
    given = parser.parse_args(arguments)
    try:
        if given.command == "choose":
            choose(given.study, given.raw)
        elif given.command == "check-data":
            return check(given.study, given.raw, given.quick)
        elif given.command == "plan":
            print_plan(given.study, given.devices)
        elif given.command == "notebook":
            run_notebook(given.name, dict(p.split("=", 1) for p in given.parameters))
        elif given.command == "checkpoint":
            import_weights(given.name)
        elif given.command == "verify":
            return print_verdicts(given.study, given.retrain)
        else:
            record(load_study())
    except UserError as exc:
        print(f"\nStopped: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; make study goes on with the rest.", file=sys.stderr)
        return 130
    return 0


def choose(study_name: str, raw: str) -> None:
    """Copy `studies/<name>.yaml` to `params.yaml` and link `data/raw` to the downloads; check both first."""
    if study_name:
        chosen = _study_file(study_name)
        load_study(path=chosen)
        _keep_own_params()
        shutil.copyfile(chosen, "params.yaml")
    study = load_study()
    if raw:
        _link_raw(study, Path(raw).expanduser())
    _check_raw(study)
    _check_networks(study)
    _check_weights(study)
    _drop_broken_lock(Path(".dvc/tmp/rwlock"))


def _drop_broken_lock(path: Path) -> None:
    """DVC writes this file in place: a kill in that moment leaves half of it, and DVC refuses to start."""
    if path.is_file():
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            path.unlink()


def check(study_name: str, raw: str, quick: bool) -> int:
    """Print what `check_data` finds, changing nothing; 1 where something is missing or unreadable."""
    study = load_study(path=_study_file(study_name)) if study_name else load_study()
    checked = check_data(study, Path(raw).expanduser() if raw else None, quick)
    print(report(study, checked, quick))
    # PyTorch takes seconds to import, and most commands here do without it.
    from radlib.networks.check_networks import network_faults

    faults = network_faults(study)
    for fault in faults:
        print(f"Error: {fault}")
    return int(any(one.errors for one in checked) or bool(faults))


def print_plan(study_name: str, devices: int | None) -> None:
    """Print what `radlib.machines.plan` expects of a study, changing nothing.

    Raises:
        UserError: fewer than one device.
    """
    # PyTorch takes seconds to import, and most commands here do without it.
    from radlib.machines.plan import planned

    if devices is not None and devices < 1:
        raise UserError(f"--devices {devices}: at least one device must compute; give a number from 1 on")
    study = load_study(path=_study_file(study_name)) if study_name else load_study()
    _check_networks(study)
    print(planned(study, devices))


def _study_file(name: str) -> Path:
    file = Path("studies") / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(p.stem for p in Path("studies").glob("*.yaml")))
        raise UserError(f"no study '{name}' in studies/; there are: {known}")
    return file


def _keep_own_params() -> None:
    """A params.yaml that equals no study file holds somebody's work, which nothing here may overwrite."""
    params = Path("params.yaml")
    known = [path.read_bytes() for path in Path("studies").glob("*.yaml")]
    if params.is_file() and params.read_bytes() not in known:
        raise UserError(
            "params.yaml holds changes of yours that STUDY= would overwrite; leave STUDY out to run it as it "
            "is, or save it first under a name of its own: cp params.yaml studies/mine.yaml"
        )


def _link_raw(study: Study, target: Path) -> None:
    if not target.is_dir():
        raise UserError(f"RAW={target} is no folder; name the one that holds your downloads")
    if study.raw.is_symlink():
        study.raw.unlink()
    elif study.raw.exists():
        raise UserError(f"{study.raw} is a folder of its own; move it away or leave RAW out")
    study.raw.parent.mkdir(parents=True, exist_ok=True)
    study.raw.symlink_to(target.resolve(), target_is_directory=True)


def _check_raw(study: Study) -> None:
    """Everything the study reads must be there before hours are spent."""
    for name, item in {**study.corpora, **study.tasks}.items():
        if item.layout not in {**GENERATORS, **READERS}:
            known = ", ".join([*GENERATORS, *READERS])
            raise UserError(f"'{name}' has the unknown layout '{item.layout}'; allowed: {known}")
        if item.simulated or holds_something(study.raw_path(item)):
            continue
        where = f"; get it from {item.url}" if item.url else ""
        raise UserError(
            f"'{name}' of study '{study.name}' is not at {item.path} (or it is empty){where}, put it there, "
            "and type: make study RAW=/folder/with/downloads"
        )


def _check_networks(study: Study) -> None:
    """Every network must be able to do what the study asks of it."""
    from radlib.networks.check_networks import network_faults

    for fault in network_faults(study):
        raise UserError(fault)


def _check_weights(study: Study) -> None:
    """Every published file must be there and hold the weights of its network."""
    from radlib.networks.checkpoints import published_weights

    for name, checkpoint in study.checkpoints.items():
        for backbone in checkpoint.backbones:
            published_weights(study, name, backbone)


def run_notebook(name: str, parameters: dict[str, str]) -> Path:
    """Execute `notebooks/<name>.ipynb` with `save=True`; the result goes to the report, cleaned.

    Raises:
        UserError: the notebook stopped; its sentence is passed on, the half-run notebook kept in `logs/`.
    """
    study = load_study()
    source = study.root / "notebooks" / f"{name}.ipynb"
    title = "-".join([name, *parameters.values()])
    target = study.report_dir / "notebooks" / f"{title}.ipynb"
    failed = study.root / "logs" / f"{title}.ipynb"
    failed.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _terminal_progress(Path(folder) / "progress"):
        executed = Path(folder) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                source,
                executed,
                {**parameters, "save": True},
                kernel_name="python3",
                cwd=study.root,
                progress_bar=False,
                kernel_manager_class=_PrivateKernel,
            )
        except PapermillExecutionError as exc:
            shutil.copyfile(executed, failed)
            if exc.ename == "UserError":
                raise UserError(exc.evalue) from exc
            raise UserError(
                f"notebook {title} failed ({exc.ename}: {exc.evalue}); {failed} shows at which cell"
            ) from exc
        notebook = clean(nbformat.read(executed, as_version=4))
    with atomic_path(target) as temporary:
        nbformat.write(notebook, temporary)
    if name == "07_summary":
        write_html(notebook, study.report_dir / "index.html")
    print(f"Read {target.relative_to(study.root)}")
    return target


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs between two equal executions: times, versions of the front end, cell ids."""
    notebook.metadata.pop("papermill", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook


def write_html(notebook: nbformat.NotebookNode, path: Path) -> None:
    """The executed notebook as one page: prose and outputs, without code."""
    exporter = HTMLExporter(exclude_input=True, exclude_output_prompt=True, exclude_input_prompt=True)
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.parent.name}})
    with atomic_path(path) as temporary:
        temporary.write_text(html)


def import_weights(name: str) -> None:
    """Check a published checkpoint and bring it into `models/`."""
    from radlib.networks.checkpoints import import_checkpoint

    for path in import_checkpoint(load_study(), name):
        print(f"imported {path}")


def record(study: Study) -> None:
    """Beside the tables: the predictions behind them, which code and machine made them, dvc's lock file."""
    from radlib import compute
    from radlib.report import archive, origin

    print(archive.keep(study))
    write_json(
        {**compute.provenance(), **origin.code_version(study.root)}, study.report_dir / "provenance.json"
    )
    shutil.copyfile(study.root / "params.yaml", study.report_dir / "params.yaml")
    shutil.copyfile(study.root / "dvc.lock", study.report_dir / "dvc.lock")
    print(f"\nRead the result in {study.report_dir.relative_to(study.root)}/index.html")


def print_verdicts(study_name: str, retrain: bool) -> int:
    """Print what `verify` finds of a report, by default the demo's; 1 where a table does not hold."""
    from radlib.report.verify import verify

    said, holds = verify(study_name or "demo", retrain)
    print(said)
    return int(not holds)


class _PrivateKernel(AsyncKernelManager):
    """A kernel that is reached through files of this user, not through open ports of the machine."""

    def __init__(self, **options):
        super().__init__(**{**options, "transport": "ipc"})


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


if __name__ == "__main__":
    sys.exit(main())
