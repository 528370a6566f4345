"""The plan against what a small study then does: images passed, files written; and against counts by hand."""

import shutil
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch

from radlib.networks import backbones
from radlib.networks.learners import FrozenLearner, TopLearner
from radlib.networks.segmenters import FrozenSegmenter
from radlib.run import calibration, costs
from radlib.run.commands import main
from radlib.run.costs import Piece, Step
from radlib.run.plan import Stage, plan, planned, report, wall_seconds
from radlib.study import load_study
from radlib.study.datasets import Expected
from radlib.study.training import Compute
from radlib.training.pretrain import pretrain
from radlib.training.probes import NeighbourProbe
from radlib.training.segment import segment
from radlib.training.transfer import transfer
from tests.conftest import LITE0, REPOSITORY, two_classes, with_lite0, write_packed

TASK = "breast_us"


@pytest.fixture
def small_study(small_study):
    return with_lite0(small_study)


class Passes(Counter):
    """Images by step, noted where a network is called."""

    def take(self, net, count):
        self[Step(net, torch.is_grad_enabled(), LITE0, 32)] += count

    def watch(self, monkeypatch, owner, method, net, argument):
        original = getattr(owner, method)

        def noted(learner, *given, **named):
            # a network of meta tensors is asked for shapes alone: nothing is computed
            if getattr(given[argument], "device", None) != torch.device("meta"):
                self.take(net, len(given[argument]))
            return original(learner, *given, **named)

        monkeypatch.setattr(owner, method, noted)


@pytest.fixture
def passes(monkeypatch):
    found, network = Passes(), type(backbones.create(LITE0))
    found.watch(monkeypatch, network, "forward_features", "whole", 0)
    found.watch(monkeypatch, network, "forward_intermediates", "whole", 0)
    found.watch(monkeypatch, TopLearner, "last", "top10", 0)
    found.watch(monkeypatch, FrozenLearner, "forward", "frozen", 0)
    found.watch(monkeypatch, NeighbourProbe, "forward", "frozen", 0)
    found.watch(monkeypatch, FrozenSegmenter, "forward", "unet_frozen", 0)
    return found


@pytest.fixture
def study(small_study):
    """Smoke with one task of 40 images, three in four with a lesion and one in eight with an empty mask."""
    images, manifest = two_classes(40, 32, folds=2)
    lesions, empty = np.arange(40) % 4 > 0, np.arange(40) % 8 == 0
    masks = [np.eye(32, dtype=bool) if has else None for has in lesions]
    manifest = manifest.assign(has_mask=lesions, empty_mask=empty)
    write_packed(small_study.dataset_dir(TASK), images, manifest, masks=masks)
    write_packed(small_study.dataset_dir("radiology"), *two_classes(40, 32, folds=1))
    update = {
        "sources": ["radiology", "random"],
        "corpora": {"radiology": small_study.corpora["radiology"]},
        "tasks": {TASK: small_study.tasks[TASK]},
    }
    return small_study.model_copy(update=update)


def steps_of(stage: Stage) -> Counter:
    return sum((piece.steps for piece in stage.pieces), Counter())


def size_on_disk(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_plan_counts_what_the_stages_then_do(study, passes):
    stages = {stage.name: stage for stage in plan(study)}
    assert list(stages) == [
        "01_data radiology", f"01_data {TASK}", "02_pretrain radiology", f"04_transfer {TASK}",
        f"06_segment {TASK}",
    ]  # fmt: skip
    passes.clear()
    done = []
    for verb, name in ((pretrain, "radiology"), (transfer, TASK), (segment, TASK)):
        verb(study, name, save=True)
        done.append(+Counter(passes))
        passes.clear()
    for stage, found in zip(list(stages.values())[2:], done, strict=True):
        assert steps_of(stage) == found, stage.name
    assert [stage.runs for stage in stages.values()] == [0, 0, 1, 2 * 2 * 5, 2 * 2 * 1]
    packed = [study.dataset_dir(TASK) / f"{name}.npy" for name in ("images", "masks", "thumbnails")]
    tables = 40 * 2 * costs.ROW_BYTES
    written = sum(file.stat().st_size for file in packed)
    assert written == stages[f"01_data {TASK}"].disk - tables + 3 * 128, "three headers of 128 bytes"
    both = stages[f"04_transfer {TASK}"], stages[f"06_segment {TASK}"]
    features = sum(piece.memory for stage in both for piece in stage.pieces)
    assert size_on_disk(study.store_dir / "features") == pytest.approx(features, rel=0.02)
    models = size_on_disk(study.store_dir / "pretrain") + study.model_file("radiology", LITE0).stat().st_size
    assert models == pytest.approx(stages["02_pretrain radiology"].disk, rel=0.02)
    kept = size_on_disk(study.store_dir / "runs") + size_on_disk(study.store_dir / "segmentation")
    kept += size_on_disk(study.result_dir(TASK))
    expected = sum(stage.disk for stage in both) - features
    assert expected / 2 < kept < 2 * expected


def test_images_of_an_external_set_are_counted(study, passes):
    """They pass a network once for what is stored, and every run scores them."""
    task = study.tasks[TASK].model_copy(update={"external": "elsewhere"})
    settings = [setting for setting in study.transfer.settings if setting.train in ("frozen", "knn")]
    study = study.model_copy(
        update={
            "tasks": {TASK: task, "elsewhere": study.tasks[TASK].model_copy(update={"folds": 1})},
            "sources": ["random"],
            "transfer": study.transfer.model_copy(update={"settings": settings}),
        }
    )
    write_packed(study.dataset_dir("elsewhere"), *two_classes(24, 32, folds=1))
    stage = next(stage for stage in plan(study) if stage.name == f"04_transfer {TASK}")
    passes.clear()
    transfer(study, TASK)
    assert steps_of(stage) == +Counter(passes)
    (study.dataset_dir("elsewhere") / "manifest.parquet").unlink()
    assert not next(stage for stage in plan(study) if stage.name == f"04_transfer {TASK}").known


def test_paper_is_counted_as_by_hand(tmp_path):
    """Every image passed costs a second: the total is the sum over all runs, added up one by one."""
    study = load_study(path=shutil.copy(REPOSITORY / "studies" / "paper.yaml", tmp_path))
    stages = [stage for stage in plan(study) if stage.name.startswith("04_transfer")]
    assert sum(stage.runs for stage in stages) == 2304
    total = 0
    for task, config in study.tasks.items():
        images = config.expected.images
        test, validation = images * (0.2 if config.folds == 5 else 0.15), images * 0.1
        for source, backbone in product(study.sources, study.backbones):
            total += 2 * images
            for run in study.runs_of(task):
                if (run.source, run.backbone) == (source, backbone):
                    total += 30 * (images - test) + validation + test
                    if config.folds == 5 and run.train != "frozen" and task in ("thyroid_us", "breast_us"):
                        total += test + validation
    found = sum(steps_of(stage).total() for stage in stages)
    assert found == pytest.approx(total, rel=1e-4)
    haemorrhage = next(stage for stage in stages if stage.name.endswith("haemorrhage_ct"))
    stored = {"resnet50": 2048 * 64, "inception_v3": 2048 * 36, "inception_resnet_v2": 2080 * 36}
    stored["densenet121"] = 992 * 64
    pooled = {**dict.fromkeys(("resnet50", "inception_v3"), 2048), "inception_resnet_v2": 1536}
    pooled["densenet121"] = 1024
    features = sum(4 * 2 * 752_802 * (2 * stored[b] + 4 * pooled[b]) for b in stored)
    assert haemorrhage.disk == pytest.approx(features, rel=0.01)


def test_more_images_and_larger_inputs_cost_more(tmp_path):
    study = load_study(path=shutil.copy(REPOSITORY / "studies" / "paper.yaml", tmp_path))

    def transfer_stage(**changes):
        task = study.tasks["acl_mri"].model_copy(update=changes)
        alone = {"tasks": {"acl_mri": task}, "segment": study.segment.model_copy(update={"tasks": []})}
        stages = plan(study.model_copy(update=alone))
        return next(stage for stage in stages if stage.name == "04_transfer acl_mri")

    once, twice = (transfer_stage(expected=Expected(images=n)) for n in (1000, 2000))
    assert steps_of(twice).total() == 2 * steps_of(once).total()
    larger = transfer_stage(expected=Expected(images=1000), input=299)
    assert once.disk < larger.disk and once.disk < twice.disk and once.memory < larger.memory


@pytest.mark.parametrize("devices", [1, 2, 3, 5, 50])
def test_wall_time_lies_between_its_bounds(devices):
    pieces = np.random.default_rng(0).exponential(100, 17)
    ideal = max(pieces.max(), pieces.sum() / devices)
    assert ideal <= wall_seconds(pieces, devices) + 1e-9 <= (4 / 3) * ideal + 1e-6
    assert wall_seconds([], devices) == 0


@pytest.mark.parametrize("devices", [1, 3, 8, 50])
@pytest.mark.parametrize("group", [1, 2, 8])
def test_a_group_needs_no_less_than_its_share_and_no_more_than_one_device(devices, group):
    pieces = np.random.default_rng(0).exponential(100, 4)
    alone, shared = wall_seconds(pieces, 1), wall_seconds(pieces, devices, group)
    assert alone / min(devices, group) == pytest.approx(shared)
    assert alone / devices - 1e-9 <= shared <= alone + 1e-9
    if group >= devices:
        assert shared <= wall_seconds(pieces, devices) + 1e-9, "no device ever waits"


def test_processes_that_pretrain_together_are_planned_together(study):
    """The same images passed; only pretraining is grouped, and only where Ray computes."""
    grouped = {}
    for backend, together in (("local", 4), ("ray", 1), ("ray", 4)):
        changed = study.model_copy(update={"compute": Compute(backend=backend, together=together)})
        stages = {stage.name: stage for stage in plan(changed)}
        assert [s.pieces for s in stages.values()] == [s.pieces for s in plan(study)]
        assert {name for name, s in stages.items() if s.group} <= {"02_pretrain radiology"}
        grouped[backend, together] = stages["02_pretrain radiology"].group
    assert grouped == {("local", 4): None, ("ray", 1): 1, ("ray", 4): 4}
    pieces = [Piece(Counter({"step": images})) for images in (3600, 7200)]
    stage = Stage("02_pretrain radiology", 1, pieces, group=4)
    for devices, hours in ((1, "3.0 h"), (2, "90 min"), (8, "45 min")):
        text = report(study, [stage], {"step": 1.0}, devices)
        assert [line for line in text.splitlines() if line.startswith("total")][0].endswith(hours)


def test_device_that_is_free_takes_the_longest_piece():
    assert wall_seconds([3, 3, 2, 2, 2], 2) == 7
    assert wall_seconds([3, 3, 2, 2, 2], 3) == 5


def test_table_adds_up_and_says_what_is_not_known(study):
    other = study.tasks[TASK].model_copy(update={"title": "Not prepared"})
    study = study.model_copy(update={"tasks": {**study.tasks, "thyroid_us": other}})
    stages = plan(study)
    speeds = {step: 3600.0 for stage in stages for step in steps_of(stage)}
    text = report(study, stages, speeds, devices=2)
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert lines["04_transfer thyroid_us"][2:] == ["unknown", "20", *["unknown"] * 4]
    hours = sum(steps_of(stage).total() for stage in stages)
    assert f"{hours:,}" in lines["total of what is known"]
    assert "dvc repro task@thyroid_us" in text and "with 2 such devices" in text
    assert "Left out: reading and decoding" in text


def test_calibration_times_every_step_of_the_plan(study, monkeypatch, capsys):
    monkeypatch.setattr(calibration, "SPAN", 1e-9)
    needed = {step for stage in plan(study) for step in steps_of(stage)}
    speeds = calibration.calibrate(study, needed)
    assert set(speeds) == needed and all(0 < seconds < 60 for seconds in speeds.values())
    nets = ("whole", "top10", "top", "frozen", "unet_frozen", "unet_all")
    every = {Step(net, train, LITE0, 32) for net in nets for train in (False, True)}
    assert set(calibration.calibrate(study, every)) == every
    assert "total" in planned(study)


def test_counts_come_from_the_manifest_before_the_publisher(study):
    config = study.tasks[TASK].model_copy(update={"expected": Expected(images=1000)})
    study = study.model_copy(update={"tasks": {TASK: config}})
    assert costs.counts_of(study, TASK).total.tolist() == [40, 30, 35]
    (study.dataset_dir(TASK) / "manifest.parquet").unlink()
    assert costs.counts_of(study, TASK).total.tolist() == [1000] * 3, "all may show a lesion"
    parts = costs.counts_of(study, TASK).folds[0].images
    assert parts.to_dict() == {"train": 400, "validation": 100, "test": 500}


def test_mistakes_are_one_sentence(capsys):
    assert main(["plan", "--devices", "0"]) == 1
    assert "--devices 0: at least one device must compute" in capsys.readouterr().err
    assert main(["plan", "--study", "moon"]) == 1
    assert "Stopped: no study 'moon' in studies/; there are:" in capsys.readouterr().err
    assert main(["checkpoint", "moon"]) == 1
    assert "Stopped: study 'demo' has no checkpoint" in capsys.readouterr().err
    assert main(["notebook", "04_transfer", "thyroid_us"]) == 1
    assert "'thyroid_us' is no parameter; write name=value" in capsys.readouterr().err
