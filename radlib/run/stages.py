"""`dvc repro`, and what is kept of a finished study beside its tables."""

import filecmp
import json
import os
import shutil
import sys
from pathlib import Path

from radlib.errors import UserError
from radlib.run.warm import carry_out
from radlib.store import write_json
from radlib.study import Study

_COPIED = ["params.yaml", "dvc.lock"]


def repro(stage: str = "") -> int:
    """Run what is missing or changed; DVC's exit status.

    DVC and the notebooks get the same Ctrl-C as this process. It waits for them, so that its own sentence is
    the last one.

    Raises:
        KeyboardInterrupt: after DVC has ended.
    """
    folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-m", "dvc", "repro", *filter(None, [stage])]
    code, seconds = carry_out(command, environment)
    if seconds:
        width = max(len(name) for name, _ in seconds)
        print("\nSeconds by stage, of those that ran:")
        for name, value in [*seconds, ("all", sum(value for _, value in seconds))]:
            print(f"  {name:{width}}  {value:6.1f}")
    return code


def check_stage(study: Study, stage: str) -> None:
    """Raises UserError where `dvc repro` would know neither a stage nor a group of stages of this name."""
    names = [one.addressing for one in _stages(study)]
    groups = dict.fromkeys(name.split("@")[0] for name in names)
    if stage not in [*names, *groups]:
        alike = [name for name in names if name.split("@")[0] == stage.split("@")[0]]
        raise UserError(
            f"no stage '{stage}' in study '{study.name}'; there are: {', '.join(alike or groups)}"
        )


def record(study: Study) -> None:
    """Beside the tables: the predictions behind them, which code and machine made them, dvc's lock file.

    Notebooks of the report that no stage writes any more go, and their pages with them. Nothing is done where
    nothing was computed since the last record.
    """
    if not _is_recorded(study):
        from radlib import compute
        from radlib.report import archive, origin, pages

        drop_unowned(study)
        # A notebook may have run again without 17_summary, which needs its tables alone.
        pages.write_pages(study.report_dir, study.title, first=False)
        print(archive.keep(study))
        made = {**compute.provenance(), **origin.recorded_of(study)}
        write_json(made, study.report_dir / "provenance.json")
        for name in _COPIED:
            shutil.copyfile(study.root / name, study.report_dir / name)
    print(f"\nRead the result in {study.report_dir.relative_to(study.root)}/index.html")


def _is_recorded(study: Study) -> bool:
    """Whether the record is of these very results, and of code that was committed (where there is git)."""
    report = study.report_dir
    if not (report / "provenance.json").is_file() or not (report / "results").is_dir():
        return False
    if filecmp.cmpfiles(study.root, report, _COPIED, shallow=False)[0] != _COPIED:
        return False
    return json.loads((report / "provenance.json").read_text(encoding="utf-8")).get("dirty") is not True


def drop_unowned(study: Study) -> None:
    """Remove executed notebooks that are no output of a stage, such as those of a task that was taken out."""
    if not (study.root / ".dvc").is_dir():  # no stages, as where tables were computed by hand
        return
    owned = {Path(out.fs_path).resolve() for stage in _stages(study) for out in stage.outs}
    for path in sorted((study.report_dir / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if path.resolve() not in owned:
            path.unlink()
            print(f"Removed {path.relative_to(study.root)}: no stage of the study writes it any more")


def _stages(study: Study) -> list:
    from dvc.repo import Repo  # takes a second to import

    with Repo(str(study.root)) as repo:
        return repo.index.stages
