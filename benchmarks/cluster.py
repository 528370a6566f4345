"""Two Ray machines on loopback: the tables of one local process, and what a lost machine costs.

Run from the repository's folder: `python -m benchmarks.cluster`. Needs Ray (the extra `cluster`). Images are
simulated and the network is small: this shows what is computed and what is kept, not how fast. Ray tells of
the lost machine at length; `| grep -v -e raylet -e state-dump` leaves the figures.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import ray
import torch
from ray.cluster_utils import Cluster
from safetensors.torch import load_file

from radlib.data.prepare import prepare
from radlib.study import Run, Study, load_study
from radlib.study.training import Compute
from radlib.training.grid import carry_out
from radlib.training.pretrain import pretrain, pretrain_backbone
from radlib.training.transfer import TransferGroup

SOURCE, TASK = "radiology", "breast_us"
MACHINE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
LONGER = {"pretrain.epochs": 6, "transfer.epochs": {"frozen": 40, "top10": 20, "all": 10}}
ALONE, ONE, TWO = Compute(workers=1), Compute(backend="ray"), Compute(backend="ray", together=2)


def main() -> None:
    start = time.perf_counter()
    cluster = Cluster(initialize_head=True, head_node_args=MACHINE)
    second = cluster.add_node(**MACHINE)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    print(f"two machines of one core each, started in {time.perf_counter() - start:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        alone = show_pretraining(Path(folder))
        show_transfer(Path(folder), alone, lambda: cluster.remove_node(second, allow_graceful=False))
    ray.shutdown()
    cluster.shutdown()


# Pretraining ------------------------------------------------------------------------------------------------
def show_pretraining(root: Path) -> Study:
    print("\nPretraining beside that of one local process")
    alone = study_in(root / "alone", ALONE)
    expected = pretrained("one local process", alone)
    compare_networks(expected, with_two_threads(study_in(root / "threads", ALONE, alone)))
    for words, options in (("one process of Ray Train", ONE), ("two processes of Ray Train", TWO)):
        compare_networks(expected, pretrained(words, study_in(root / words, options, alone)))
    killed = study_in(root / "killed", TWO, alone)
    kill = When(lambda: epochs_of(killed), lambda epochs: len(epochs) >= 2, kill_a_trainer)
    found = pretrained("two processes, one of them killed", killed)
    compare_networks(expected, found)
    rows = found[0].iloc[: len(kill.seen)].reset_index(drop=True)
    # Seconds are never the same twice: equal rows were not computed again.
    print(f"    killed after epoch {len(kill.seen)}; rows kept: {rows.equals(pd.DataFrame(kill.seen))}")
    return alone


def pretrained(words: str, study: Study) -> tuple[pd.DataFrame, dict[str, torch.Tensor]]:
    start = time.perf_counter()
    (result,) = pretrain(study, SOURCE, save=True).values()
    (backbone,) = study.backbones
    print(f"  {words}: {time.perf_counter() - start:.0f} s")
    return result.history, load_file(study.model_file(SOURCE, backbone))


def with_two_threads(study: Study) -> tuple[pd.DataFrame, dict[str, torch.Tensor]]:
    """A yardstick: the same sums in another order, without Ray."""
    (backbone,) = study.backbones
    torch.set_num_threads(2)
    result = pretrain_backbone((study, SOURCE, backbone, 0, True), lambda done: None)
    print("  one local process of two threads")
    return result.history, load_file(study.model_file(SOURCE, backbone))


def compare_networks(expected: tuple, found: tuple) -> None:
    (history, weights), (other_history, other_weights) = expected, found
    equal = sum(torch.equal(weights[key], other_weights[key]) for key in weights)
    first, last = (history["train_loss"] - other_history["train_loss"]).abs().iloc[[0, -1]]
    print(f"    equal tensors: {equal} of {len(weights)}; training loss of the first epoch differs by "
          f"{first:.2g}, of the last by {last:.2g} of {history['train_loss'].iloc[-1]:.2g}")  # fmt: skip


def epochs_of(study: Study) -> list[dict]:
    """The history in the checkpoint."""
    for path in (study.store_dir / "pretrain").glob("*.pt"):
        return torch.load(path, weights_only=True)["history"]
    return []


def kill_a_trainer() -> None:
    workers = [p for p in psutil.Process().children(recursive=True) if "TrainWorker" in " ".join(p.cmdline())]
    workers[-1].kill()


# Transfer ---------------------------------------------------------------------------------------------------
class CountingGroup(TransferGroup):
    """Notes every run that is begun."""

    like = TransferGroup

    def compute(self, run: Run):
        with (self.study.root / "begun.txt").open("a") as begun:
            begun.write(f"{run.name}\n")
        return super().compute(run)


def show_transfer(root: Path, given: Study, lose_a_machine: Callable[[], Any]) -> None:
    print("\nTransfer beside that of one local process")
    expected = transferred("one local process", study_in(root / "grid alone", ALONE, given))
    compare_tables(expected, transferred("two machines", study_in(root / "grid", ONE, given)))
    lost = study_in(root / "lost", ONE, given)
    kill = When(lambda: stored_runs(lost), lambda runs: len(runs) >= 4, lose_a_machine)
    compare_tables(expected, transferred("two machines, one of them killed", lost))
    later = stored_runs(lost)
    kept = sum(later[path] == written for path, written in kill.seen.items())
    print(f"    stored when it was killed: {len(kill.seen)} of {len(later)} runs; of these kept: {kept}")


def transferred(words: str, study: Study):
    start = time.perf_counter()
    done = carry_out(study, TASK, study.runs_of(TASK), CountingGroup, TASK)
    begun = (study.root / "begun.txt").read_text().splitlines()
    print(f"  {words}: {time.perf_counter() - start:.0f} s; {len(done.runs)} runs, begun {len(begun)} times")
    return done


def compare_tables(expected, found) -> None:
    equal = all(
        getattr(expected, name).drop(columns="seconds", errors="ignore").equals(
            getattr(found, name).drop(columns="seconds", errors="ignore")
        )
        for name in ("runs", "history", "predictions")
    )  # fmt: skip
    print(f"    tables equal to the last bit: {equal}")


def stored_runs(study: Study) -> dict[Path, int]:
    """Every stored run and when it was written."""
    return {path: path.stat().st_mtime_ns for path in (study.store_dir / "runs").rglob("[!.]*.parquet")}


# Both -------------------------------------------------------------------------------------------------------
def study_in(root: Path, options: Compute, given: Study | None = None) -> Study:
    """The smallest study, with more epochs, in a folder of its own; data and networks of a `given` one."""
    here = Path(__file__).resolve().parents[1] / "studies" / "smoke.yaml"
    study = load_study(LONGER, here)
    study = study.model_copy(update={"root": root, "compute": options, "sources": [SOURCE, "random"]})
    if given is None:
        for dataset in [*study.tasks, SOURCE]:
            prepare(study, dataset)
    else:
        for folder in ("data", "models"):
            shutil.copytree(given.root / folder, root / folder)
    return study


class When:
    """Meanwhile: as soon as what is `watched` is `enough`, `act`; `seen` is what there was then."""

    def __init__(self, watched: Callable[[], Any], enough: Callable[[Any], bool], act: Callable[[], Any]):
        self.watched, self.enough, self.act, self.seen = watched, enough, act, None
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self.enough(seen := self.watched()):
            time.sleep(0.1)
        self.seen = seen
        self.act()


if __name__ == "__main__":
    main()
