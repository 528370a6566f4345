"""The published protocol through its whole pipeline, on a handful of images: does `paper` run to its end?

Run from the repository's folder: `python -m benchmarks.paper`, or with the folder in which to work behind it.
In a clone of the last commit it writes every data set in its published format with the authors' lists, Keras
files of the four networks for RadImageNet and timm's for ImageNet (all with random weights), and carries out
studies/paper.yaml: all eight tasks, their folds, four sources and four networks, U-Nets and
negative controls (positive ones need more patients). Cut are images, epochs, settings and simulated studies.
It shows that everything fits together; its figures mean nothing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from safetensors.torch import save_file

from radlib.networks import backbones
from radlib.study import Study, load_study
from tests import paper_files

KERAS = {
    "resnet50": "ResNet50", "densenet121": "DenseNet121", "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
}  # fmt: skip
SIDE = 80  # px; the Inceptions need 75
SETTINGS = [
    {"train": "frozen", "lr": 0.01},
    {"train": "top10", "lr": 0.001},
    {"train": "all", "lr": 0.001, "backbones": ["resnet50"]},
]


def cut(params: dict) -> dict:
    """The study with small images, one epoch and fewer settings."""
    for item in [*params["tasks"].values(), *params["corpora"].values()]:
        item["size"] = SIDE
    params["backbones"] = {name: {"size": SIDE} for name in KERAS}
    params["pretrain"] |= {"size": SIDE, "epochs": 1, "batch_size": 8}
    once = dict.fromkeys(("frozen", "top10", "all"), 1)
    params["transfer"] |= {"settings": SETTINGS, "epochs": once, "batch_size": 8, "views": 1}
    frozen = [{"train": "frozen", "lr": 0.001, "backbones": ["resnet50"]}]
    params["segment"] |= {"settings": frozen, "epochs": {"frozen": 1}, "size": SIDE, "views": 1}
    params["compare"]["resamples"] = 10_000  # few test patients need many
    cells = params["validity"]["cells"][2:3]
    params["validity"] |= {"studies": 50, "resamples": 200, "cells": cells}
    params["controls"] |= {"epochs": 1, "seeds": [0, 1], "positive": {}}
    return params


def write_weights(root: Path, study: Study) -> None:
    """Random weights in the published formats, for every file that the study's checkpoints name."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras  # decides by the environment what it computes with

    rng = np.random.default_rng(0)
    for name, checkpoint in study.checkpoints.items():
        folder = root / Path(checkpoint.path).relative_to("data/raw")
        for backbone in checkpoint.backbones:
            if name == "imagenet":
                save_file(backbones.create(backbone).state_dict(), folder / checkpoint.file_of(backbone))
                continue
            with keras.device("cpu"):
                network = getattr(keras.applications, KERAS[backbone])
                model = network(include_top=False, weights=None, input_shape=(None, None, 3))
                for weight in model.weights:
                    if weight.path.endswith("kernel"):  # Keras' own start lets the signal die
                        scale = np.sqrt(2 / np.prod(weight.shape[:-1]))
                        weight.assign(rng.normal(0, scale, weight.shape))
                model.save(folder / checkpoint.file_of(backbone))


def carry_out(work: Path) -> int:
    """Clone, write, run, and print what came out; the exit status of what failed, or 0."""
    home, downloads = work / "clone", work / "downloads"
    subprocess.run(["git", "clone", "--quiet", ".", home], check=True)
    study = load_study(path="studies/paper.yaml")
    paper_files.write_all(downloads, study)
    write_weights(downloads, study)
    params = cut(yaml.safe_load((home / "studies/paper.yaml").read_text()))
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    environment = os.environ | {"PYTHONPATH": str(home)}
    python = [sys.executable, "-m"]
    for command in (
        [*python, "radlib.run", "check-data", "--raw", str(downloads)],
        [*python, "radlib.run", "study", "--raw", str(downloads)],
    ):
        done = subprocess.run(command, cwd=home, env=environment, check=False)
        if done.returncode:
            return done.returncode
    report = home / "reports" / params["name"]
    results = home / "results" / params["name"]
    runs = {task: len(pd.read_parquet(results / task / "runs.parquet")) for task in params["tasks"]}
    print(
        "\nruns:",
        ", ".join(f"{task} {count}" for task, count in runs.items()),
        "; in all",
        sum(runs.values()),
    )
    for table in sorted(report.glob("*.csv")):
        print(f"{table.name}: {len(pd.read_csv(table))} rows")
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper")
    parser.add_argument("folder", nargs="?", help="where to work, and what to keep; else a temporary folder")
    given, start = parser.parse_args(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="radlib-paper-") as folder:
        status = carry_out(Path(given.folder or folder))
    print(f"{'ended' if status == 0 else 'stopped'} after {(time.perf_counter() - start) / 60:.0f} min")
    sys.exit(status)


if __name__ == "__main__":
    main()
