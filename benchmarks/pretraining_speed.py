"""Images per second of pretraining, beside a bare loop over batches that are already in memory.

Run from the repository's folder: `python -m benchmarks.pretraining_speed [backbone]`. The real loop reads
pixels from a file, resizes, augments and normalises them, counts and shows its progress; the bare loop takes
batches that are ready on the device, and only trains. Both train the same network, in turn, several times
over; the medians are printed. The last column is the bare loop with grouped convolutions, too, in mixed
precision, for which the library takes float32 on processors.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from radlib import compute
from radlib.data.images import Packed
from radlib.machines.team import ALONE
from radlib.networks import backbones
from radlib.progress import progress
from radlib.study import load_study
from radlib.training.pretrain import _Training

SIZES = (64, 96, 224)
CLASSES = 10
ROUNDS = 3


def noise(folder: Path, count: int, size: int) -> Packed:
    """A corpus of noise in a file, as `01_data` leaves one."""
    file = folder / f"images_{size}.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8))
    part = np.where(np.arange(count) < CLASSES, "validation", "train")
    manifest = pd.DataFrame({"part_0": part, "label": np.arange(count) % CLASSES})
    return Packed(np.load(file, mmap_mode="r"), None, manifest, {"simulated": True})


def ready(training: _Training) -> list[tuple[Tensor, Tensor]]:
    """The batches of an epoch, as the network takes them."""
    generator = torch.Generator().manual_seed(0)
    drawn = [training._drawn(rows, generator) for rows in training._epoch_batches(0)]
    return [(training._input(pixels, maps), labels.to(compute.device())) for pixels, maps, labels in drawn]


def bare_speed(training: _Training, batches: list[tuple[Tensor, Tensor]]) -> float:
    training.model.train()
    start, total = time.perf_counter(), 0.0
    for inputs, labels in batches:
        with compute.autocast():
            loss = torch.nn.functional.cross_entropy(training.network(inputs), labels)
        training.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        training.optimizer.step()
        training.schedule.step()
        total += loss.detach()
    float(total)
    return sum(len(labels) for _, labels in batches) / (time.perf_counter() - start)


def real_speed(training: _Training, epoch: int) -> float:
    with progress(total=len(training.rows["train"]), description="pretrain", unit="img") as bar:
        training._epoch(epoch, bar.update)
    return training.history[-1]["images_per_second"]


def as_timm_makes_it(training: _Training) -> _Training:
    """With grouped convolutions that know nothing of precision."""
    for module in training.model.modules():
        if isinstance(module, backbones._TrainedInFloat32):
            module.__class__ = type(module).__bases__[1]
    return training


def measured(training: _Training, other: _Training) -> tuple[float, float, float]:
    """Images per second of the bare loop, the real loop and the other's bare loop, medians over rounds."""
    batches = ready(training)
    bare_speed(training, batches), real_speed(training, 0), bare_speed(other, batches)
    found = [
        (bare_speed(training, batches), real_speed(training, i), bare_speed(other, batches))
        for i in range(ROUNDS)
    ]
    return tuple(np.median(found, axis=0))


def main() -> None:
    backbone = sys.argv[1] if len(sys.argv) > 1 else "tf_efficientnet_lite0"
    on_card = compute.device().type == "cuda"
    if not on_card:
        torch.set_num_threads(1)  # as a worker has
    study, batch_size = load_study(path=Path("studies/smoke.yaml")), 128 if on_card else 32
    where = compute.provenance()
    print(f"{backbone} on {where['device']}, {where['precision']}, batches of {batch_size}")
    print(f"{'px':>4} {'bare, images/s':>15} {'real, images/s':>15} {'ratio':>6} {'timm, images/s':>15}")
    for size in SIZES:
        # Seconds a row: in less, a card's speed is as much luck as code.
        steps = 100 if on_card else max(2, 12 * 64**2 // size**2)
        changes = {"epochs": 3 * ROUNDS + 3, "batch_size": batch_size, "size": size}
        with tempfile.TemporaryDirectory() as folder:
            packed = noise(Path(folder), CLASSES + steps * batch_size, size)
            options = study.pretrain.model_copy(update=changes)
            ours, other = (_Training(packed, backbone, options, seed=0, team=ALONE) for _ in range(2))
            bare, real, timm = measured(ours, as_timm_makes_it(other))
        print(f"{size:>4} {bare:>15.1f} {real:>15.1f} {real / bare:>6.3f} {timm:>15.1f}")


if __name__ == "__main__":
    main()
