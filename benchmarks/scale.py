"""How preparing and reading a corpus grow with its images: time and memory of every step, up to 1.35 million.

Run from the repository's folder: `python -m benchmarks.scale`, or with other numbers of images behind it.
At every size, one process runs the package's own `prepare` on files in RadImageNet's published layout
(folders, three tables, one small picture per image), and another reads a corpus of that size at 224 px as
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

from radlib.data import prepare
from radlib.data.figures import class_counts, part_table, split_check
from radlib.data.images import open_packed
from radlib.data.splits import assign_parts, choose_subset
from radlib.datasets.radimagenet import FILES
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
    """The published study with one corpus, below `folder`, and without tasks whose images it might hold."""
    study = load_study(path=Path("studies/paper.yaml"))
    corpus = study.corpora["radimagenet_here"].model_copy(update={"size": SIDE, "path": "raw"})
    return study.model_copy(update={"root": folder, "corpora": {CORPUS: corpus}, "tasks": {}})


def prepare_corpus(steps: Steps, study: Study) -> None:
    """`01_data`, whole; its steps are timed by their own calls."""
    for function, name in STEPS.items():
        setattr(prepare, function, steps.timed(name, getattr(prepare, function)))
    run = steps.timed("01_data, all of it", prepare.prepare)
    prepared = run(study, CORPUS, progress=lambda items, **_: items)
    steps.timed("tables of the notebook", tables)(prepared)


def tables(prepared: prepare.Prepared) -> None:
    class_counts(prepared)
    split_check(prepared.manifest)
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
    # Here, because the process that prepares does without PyTorch.
    import torch

    from radlib.data import batches
    from radlib.training import pretrain

    def read(rows: np.ndarray) -> torch.Tensor:
        maps = batches.draw_augmentation(len(rows), "full", generator)
        return batches.augment(batches.gather(packed.images, rows, INPUT), maps)

    steps.note("imports, with PyTorch", 0.0)
    start = time.perf_counter()
    packed = open_packed(folder)
    rows = np.flatnonzero(packed.manifest["part_0"] == "train")
    steps.note("open the packed set", time.perf_counter() - start)
    steps.timed("mean and SD of pixels", pretrain.channel_statistics)(packed.images, rows)
    start, generator = time.perf_counter(), torch.Generator().manual_seed(0)
    epoch = batches.shuffled(rows, BATCH, generator)
    read(epoch[0])
    steps.note("epoch: to the first batch", time.perf_counter() - start)
    start, some = time.perf_counter(), epoch[1 : BATCHES + 1]
    for rows in some:
        read(rows)
    steps.note(f"epoch: a batch of {BATCH}", (time.perf_counter() - start) / len(some))


def enlarge(folder: Path) -> None:
    """Put a sparse file of 224 px in place of the packed pixels; a row of greys in every hundredth image."""
    count = len(open_packed(folder).manifest)
    with (folder / "images.npy").open("wb") as handle:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, INPUT, INPUT, 1)}
        np.lib.format.write_array_header_1_0(handle, header)
        start = handle.tell()
        for row in range(0, count, 100):
            handle.seek(start + row * INPUT * INPUT)
            handle.write(bytes(range(256)))
        handle.truncate(start + count * INPUT * INPUT)


def measure(command: str, images: int, folder: Path) -> list[dict]:
    """The steps of one process, `prepare` or `read`, at one size; files are below `folder` already."""
    steps, study = Steps(images), study_in(folder)
    packed = study.dataset_dir(CORPUS)
    if command == "prepare":
        steps.note("imports", 0.0)
        prepare_corpus(steps, study)
        divide(steps, packed)
        enlarge(packed)
    else:
        read_epoch(steps, packed)
    return steps.rows


# The table --------------------------------------------------------------------------------------------------
def in_a_process(process: str, images: int, folder: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "--process", process, "--folder", folder, str(images)],
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
    print(
        "us each: microseconds per image. to 100 k: as a multiple of its value at 100 000 images. peak: "
        "largest resident memory of the process until then; what stands above `imports, with PyTorch` is one "
        "process, the rest another."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("images", nargs="*", type=int, default=IMAGES)
    parser.add_argument("--folder", type=Path, help="where to work; 5 kB are needed for each image")
    parser.add_argument("--process", choices=("write", "prepare", "read"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.process == "write":
        write_files(given.folder / "raw", given.images[0])
    elif given.process:
        print(json.dumps(measure(given.process, given.images[0], given.folder)))
    else:
        rows = []
        for images in given.images:
            with tempfile.TemporaryDirectory(dir=given.folder, prefix="radlib-scale-") as folder:
                in_a_process("write", images, folder)
                for process in ("prepare", "read"):
                    rows += json.loads(in_a_process(process, images, folder))
        report(rows)


if __name__ == "__main__":
    main()
