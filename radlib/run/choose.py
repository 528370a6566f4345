"""Which study runs: `params.yaml` as the user writes it, `study.json` with every value, for DVC to read.

DVC reads a parameter only where a file states it, and a study file may leave out what has a default.
`make study` writes `study.json`, and so does the first stage of `dvc repro` where `params.yaml` was edited:
an edit is never passed over.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from radlib.data.packing import check_own
from radlib.errors import UserError
from radlib.store import write_json
from radlib.study import Study, load_study
from radlib.study.places import absent, check_places, holds_something

COMPLETE = "study.json"


def choose(study_name: str, raw: str) -> None:
    """Copy `studies/<name>.yaml` to `params.yaml` and link `data/raw` to the downloads; check both first."""
    if study_name:
        chosen = study_file(study_name)
        load_study(path=chosen)
        _keep_own_params()
        shutil.copyfile(chosen, "params.yaml")
    study = load_study()
    if raw:
        _link_raw(study, Path(raw).expanduser())
    check_raw(study)
    _check_weights(study)
    _take_over(study)
    _drop_broken_lock(Path(".dvc/tmp/rwlock"))
    mend_record(Path("dvc.lock"))
    _work_without_git(study.root)


# study.json -----------------------------------------------------------------------------------------------
def complete(study: Study) -> dict[str, Any]:
    """What `dvc.yaml` makes stages and paths of, and every value of the study.

    What lies deeper than `section.key` is one line of JSON: DVC's lock file repeats it for each stage, and
    DVC reads and writes that file for each stage, at a second for some thousand entries.
    """
    whole = study.model_dump(mode="json")
    # which backbones a source has weights for is decided by several keys
    whole["backbones_of"] = {name: study.backbones_of(name) for name in [*study.corpora, *study.checkpoints]}
    kinds = ("corpora", "tasks", "checkpoints")
    stages = {kind: {name: item["path"] for name, item in whole[kind].items()} for kind in kinds}
    # what was fetched is told by its record
    for name, checkpoint in study.checkpoints.items():
        if checkpoint.fetched:
            record = study.fetched_record(name)
            stages["checkpoints"][name] = record.relative_to(study.root).as_posix()
    # what a task's runs read beside its own images and all weights: its external set
    paths = {name: study.tasks[name].external or "" for name in study.trained_tasks}
    transferred = {
        name: f"data/{study.name}/tasks/{other}" if other else study.tasks[name].path
        for name, other in paths.items()
    }
    values = {
        name: {key: _line(one) for key, one in value.items()} if isinstance(value, dict) else _line(value)
        for name, value in whole.items()
    }
    return {
        "about": "Written by make study from params.yaml, with every value that it leaves out; edit that.",
        "stages": {**stages, "transfer": transferred, "segment": study.segment.tasks},
        "study": values,
    }


def _line(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def write_complete(study: Study) -> None:
    write_json(complete(study), study.root / COMPLETE)


def _take_over(study: Study) -> None:
    """A study that stands in study.json was checked before."""
    if _read(study.root) != complete(study):
        check_layouts(study)
        check_networks(study)
        write_complete(study)


def complete_in_dvc(study: Study) -> None:
    """The first stage. Values may have changed since DVC started: it reads them later; names may not.

    Raises:
        UserError: data are missing, or DVC laid out its stages by other names or paths.
    """
    check_raw(study)
    known = _read(study.root)
    _take_over(study)
    if known is None or _laid_out(known) != _laid_out(complete(study)):
        raise UserError(
            "params.yaml has another name, task, data set or path than when dvc laid out its stages; it is "
            "taken over now: type the command again"
        )


def check_unchanged(study: Study) -> None:
    """A stage must run what DVC notes of it.

    Raises:
        UserError: params.yaml was edited since the first stage ran.
    """
    known = _read(study.root)
    if known is not None and known != complete(study):
        raise UserError(
            "params.yaml was changed while the study ran; type make study (or dvc repro) again: what is "
            "finished is kept"
        )


def _read(root: Path) -> dict | None:
    path = root / COMPLETE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _laid_out(whole: dict) -> tuple:
    return whole["study"]["name"], whole["stages"]


# What must be there ---------------------------------------------------------------------------------------
def study_file(name: str) -> Path:
    file = Path("studies") / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(p.stem for p in Path("studies").glob("*.yaml")))
        raise UserError(f"no study '{name}' in studies/; there are: {known}")
    return file


def check_raw(study: Study) -> None:
    """Everything the study reads must be there before hours are spent, and nothing of the user's in its way.

    Published weights that it names on huggingface.co are fetched now.

    DVC removes what a stage writes before it starts the stage, so this must come first.
    """
    check_places(study)
    for name, item in {**study.corpora, **study.tasks}.items():
        check_own(study.dataset_dir(name))
        if not (item.simulated or holds_something(study.raw_path(item))):
            raise UserError(absent(study, name))
    for name, checkpoint in study.checkpoints.items():
        # PyTorch takes seconds to import, and most studies do without it here.
        from radlib.networks.hub import weights_file

        for backbone in checkpoint.backbones:
            weights_file(study, name, backbone)


def check_layouts(study: Study) -> None:
    """Every dataset must be in a layout that is known."""
    from radlib.datasets import READERS
    from radlib.simulate import GENERATORS

    for name, item in {**study.corpora, **study.tasks}.items():
        if item.layout not in {**GENERATORS, **READERS}:
            known = ", ".join([*GENERATORS, *READERS])
            raise UserError(f"'{name}' has the unknown layout '{item.layout}'; allowed: {known}")


def check_networks(study: Study) -> None:
    """Every network must be able to do what the study asks of it."""
    from radlib.networks.check_networks import network_faults

    for fault in network_faults(study):
        raise UserError(fault)


def _check_weights(study: Study) -> None:
    """Every published file must hold the weights of its network; those that the study has imported do."""
    unchanged = _read(study.root) == complete(study)
    for name, checkpoint in study.checkpoints.items():
        from radlib.networks.checkpoints import is_imported, published_weights

        for backbone in checkpoint.backbones:
            if not (unchanged and is_imported(study, name, backbone)):
                published_weights(study, name, backbone)


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


# DVC ------------------------------------------------------------------------------------------------------
def _drop_broken_lock(path: Path) -> None:
    """DVC writes this file in place: a kill in that moment leaves half of it, and DVC refuses to start."""
    if path.is_file():
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            path.unlink()


def mend_record(path: Path) -> None:
    """A kill while DVC writes its record of stages leaves the beginning; keep the stages that are whole."""
    text = path.read_text(encoding="utf-8") if path.is_file() else "\n"
    if not text.endswith("\n"):
        stages = [found.start() for found in re.finditer(r"^  \S", text, re.MULTILINE)]
        if len(stages) > 1:
            path.write_text(text[: stages[-1]], encoding="utf-8")
        else:
            path.unlink()


def _work_without_git(root: Path) -> None:
    """Where the folder was downloaded as a zip, tell DVC so, in the file that holds its local settings."""
    local = root / ".dvc" / "config.local"
    inside = any((folder / ".git").exists() for folder in [root.resolve(), *root.resolve().parents])
    if not inside and local.parent.is_dir() and not local.exists():
        local.write_text("[core]\n    no_scm = true\n")
        print(
            "There is no git repository here: the study runs, but no report can name the version of its code."
        )
