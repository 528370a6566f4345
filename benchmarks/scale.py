"""How preparing and reading a corpus grow with its images: time and memory of every step, up to 1.35 million.

Run from the repository's folder: `python -m benchmarks.scale`, or with other numbers of images behind it.
Every size has a process of its own. It runs the package's own `prepare` on files in RadImageNet's published
layout (folders, three tables, one small picture per image), and then reads a corpus of that size at 224 px as
pretraining does. Everything is as large as it would be, but for the pixels: the pictures have 16 px, and the
224 px are a sparse file. What decoding and reading from a disk take comes on top; both go image by image.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from radlib import batches, plots_data, prepare, pretrain
from radlib.datasets.radimagenet import FILES
from radlib.images import open_packed
from radlib.splits import assign_parts, choose_subset, part_table
from radlib.study import Study, load_study

IMAGES = (10_000, 100_000, 1_350_000)
LARGE = 100_000  # cost per image is compared with that at this size
PER_PATIENT = 10  # RadImageNet: 1.35 million images of 131 872 patients
SIDE, INPUT = 16, 224  # px, of the written pictures and of what pretraining reads
BATCH, BATCHES = 256, 100
REGIONS = {
    "MR": {"ankle": 25, "knee": 18, "shoulder": 14, "hip": 14, "brain": 10, "spine": 9, "abdomen": 26},
    "CT": {"abdomen": 28, "lung": 6},
    "US": {"": 15},
}
STEPS = {
    "choose_records": "list the images",
    "_decode": "decode and fingerprint",
    "audit": "audit: copies, near-copies",
    "_manifest": "manifest and parts",
    "_meta": "digests",
    "_write": "write the packed set",
}
CORPUS = "radimagenet"


def peak() -> float:
    """Largest resident memory of this process until now, MiB; pages of mapped files count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Steps:
    """What each step took."""

    def __init__(self, images: int):
        self.images, self.rows = images, []

    def timed(self, name: str, function: Callable) -> Callable:
        def call(*args, **kwargs):
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.note(name, time.perf_counter() - start)
            return result

        return call

    def note(self, name: str, seconds: float) -> None:
        row = {"step": name, "images": self.images, "seconds": seconds, "peak": peak()}
        self.rows.append(row)
        print(f"  {name}: {seconds:.1f} s, peak {row['peak']:.0f} MiB", file=sys.stderr, flush=True)


# The files --------------------------------------------------------------------------------------------------
def classes() -> list[str]:
    """165 classes, as many in each region as published."""
    return [
        "/".join(part for part in (modality, region, f"finding_{number:02d}") if part)
        for modality, regions in REGIONS.items()
        for region, count in regions.items()
        for number in range(count)
    ]


def write_files(folder: Path, images: int) -> None:
    """RadImageNet's tables and tree: every tenth image is of another patient, and one in fifty is a copy.

    The images of a patient are one picture that changes a little from slice to slice, so that many are
    near-identical to a neighbour. One in a hundred is blank.
    """
    rng = np.random.default_rng(0)
    names = classes()
    shares = rng.dirichlet(np.full(len(names), 0.7))
    of_patient = rng.choice(len(names), images // PER_PATIENT + 1, p=0.9 * shares + 0.1 / len(names))
    parts = rng.choice(list(FILES), len(of_patient), p=[0.75, 0.10, 0.15])
    # Every class must be trained on, however few images there are.
    of_patient[: len(names)], parts[: len(names)] = np.arange(len(names)), "train"
    rows = []
    for name in names:
        (folder / "radiology_ai" / name).mkdir(parents=True, exist_ok=True)
    for image in range(images):
        if image % PER_PATIENT == 0:
            picture = rng.integers(0, 256, (SIDE, SIDE)).astype(float)
        kind = rng.random()
        if kind > 0.03:
            picture += rng.normal(0, 12, (SIDE, SIDE))
        shown = np.full((SIDE, SIDE), 7.0) if kind < 0.01 else picture
        class_name = names[of_patient[image // PER_PATIENT]]
        file = f"radiology_ai/{class_name}/{class_name.replace('/', '_')}_{image:07d}.pgm"
        header = f"P5 {SIDE} {SIDE} 255\n".encode()
        (folder / file).write_bytes(header + shown.clip(0, 255).astype(np.uint8).tobytes())
        rows.append((file, class_name.split("/")[-1], parts[image // PER_PATIENT]))
    table = pd.DataFrame(rows, columns=["filename", "label", "part"])
    for part, file in FILES.items():
        table.loc[table["part"] == part, ["filename", "label"]].to_csv(folder / file, index=False)


# The steps --------------------------------------------------------------------------------------------------
def study_in(folder: Path) -> Study:
    """The published study with one corpus, below `folder`."""
    study = load_study(path=Path("studies/paper.yaml"))
    corpus = study.corpora["radimagenet_here"].model_copy(update={"size": SIDE, "path": "raw"})
    return study.model_copy(update={"root": folder, "corpora": {CORPUS: corpus}})


def prepare_corpus(steps: Steps, study: Study) -> None:
    """`01_data`, whole; its steps are timed by their own calls."""
    for function, name in STEPS.items():
        setattr(prepare, function, steps.timed(name, getattr(prepare, function)))
    run = steps.timed("01_data, all of it", prepare.prepare)
    prepared = run(study, CORPUS, progress=lambda items, **_: items)
    steps.timed("tables of the notebook", tables)(prepared)


def tables(prepared: prepare.Prepared) -> None:
    plots_data.class_counts(prepared)
    plots_data.findings(prepared.audit)
    plots_data.split_check(prepared.manifest)
    part_table(prepared.manifest)


def divide(steps: Steps, folder: Path) -> None:
    """What RadImageNet does not need but others do: parts by patient, and a subset of half the images."""
    manifest = open_packed(folder).manifest
    patients = np.array([f"p{image // PER_PATIENT:06d}" for image in range(len(manifest))], dtype=object)
    steps.timed("parts by patient", assign_parts)(patients, manifest["label"].to_numpy(), 1, 0)
    keys, labels = manifest["image_id"].to_numpy(), manifest["class_name"].to_numpy()
    steps.timed("subset of half", choose_subset)(labels, keys, len(manifest) // 2, 0)


def read_epoch(steps: Steps, folder: Path) -> None:
    """Open the corpus at 224 px, start an epoch, read some batches in random order."""
    count = len(open_packed(folder).manifest)
    with (folder / "images.npy").open("wb") as handle:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, INPUT, INPUT, 1)}
        np.lib.format.write_array_header_1_0(handle, header)
        handle.truncate(handle.tell() + count * INPUT * INPUT)
    start = time.perf_counter()
    packed = open_packed(folder)
    rows = np.flatnonzero(packed.manifest["part_0"] == "train")
    steps.note("open the packed set", time.perf_counter() - start)
    steps.timed("mean and SD of pixels", pretrain.channel_statistics)(packed.images, rows)
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    epoch = iter(batches.shuffled(rows, BATCH, generator))
    batch(packed.images, next(epoch), generator)
    steps.note("epoch: to the first batch", time.perf_counter() - start)
    start = time.perf_counter()
    for some in list(epoch)[:BATCHES]:
        batch(packed.images, some, generator)
    seconds = (time.perf_counter() - start) / BATCHES
    steps.note(f"epoch: a batch of {BATCH}", seconds)


def batch(images: np.ndarray, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    maps = batches.draw_augmentation(len(rows), "full", generator)
    return batches.augment(batches.gather(images, rows, INPUT), maps)


def measure(images: int, folder: Path) -> list[dict]:
    """All steps at one size; files are below `folder` already."""
    steps, study = Steps(images), study_in(folder)
    steps.note("imports", 0.0)
    prepare_corpus(steps, study)
    divide(steps, study.dataset_dir(CORPUS))
    read_epoch(steps, study.dataset_dir(CORPUS))
    return steps.rows


# The table --------------------------------------------------------------------------------------------------
def in_a_process(command: str, images: int, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", f"--{command}", str(folder), str(images)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def report(rows: list[dict]) -> None:
    table = pd.DataFrame(rows)
    table["number"] = pd.factorize(table["step"])[0]
    table["each"] = 1e6 * table["seconds"] / table["images"]
    base = table[table["images"] == LARGE].set_index("step")["each"]
    print(f"{'step':<28} {'images':>9} {'seconds':>9} {'us each':>9} {'to 100 k':>9} {'peak MiB':>9}")
    for row in table.sort_values(["number", "images"]).itertuples():
        whole = row.step.startswith(("epoch", "mean", "imports"))
        ratio = "" if whole or row.step not in base else f"{row.each / base[row.step]:.2f}"
        each = "" if whole else f"{row.each:.2f}"
        print(f"{row.step:<28} {row.images:>9,} {row.seconds:>9.3f} {each:>9} {ratio:>9} {row.peak:>9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("images", nargs="*", type=int, default=IMAGES)
    parser.add_argument("--folder", type=Path, help="where to work; 5 kB are needed for each image")
    for command in ("write", "measure"):
        parser.add_argument(f"--{command}", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write_files(given.write, given.images[0])
    elif given.measure:
        print(json.dumps(measure(given.images[0], given.measure)))
    else:
        rows = []
        for images in given.images:
            with tempfile.TemporaryDirectory(dir=given.folder, prefix="radlib-scale-") as folder:
                in_a_process("write", images, Path(folder) / "raw")
                rows += json.loads(in_a_process("measure", images, Path(folder)))
        report(rows)


if __name__ == "__main__":
    main()
