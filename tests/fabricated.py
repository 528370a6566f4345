"""Runs and predictions with a known truth, written as 04_transfer writes them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from radlib.stats.auc import aucs
from radlib.stats.dice import MAP_FIGURES
from radlib.study import Study, load_study

TITLES = {
    "thyroid_us": "Thyroid US", "breast_us": "Breast US", "acl_mri": "ACL tear MRI",
    "meniscus_mri": "Meniscus tear MRI", "pneumonia_cxr": "Pneumonia CXR", "covid_ct": "COVID-19 CT",
    "sarscov2_ct": "SARS-CoV-2 CT", "haemorrhage_ct": "Haemorrhage CT",
}  # fmt: skip
SETTINGS = [("frozen", 0.01), ("frozen", 0.001), ("top10", 0.001), ("all", 0.001)]


def make_study(root: Path, tasks=("thyroid_us",), folds=2, backbones=("resnet50",), **changes) -> Study:
    """A simulated study below `root`; `changes` replace whole top-level keys."""
    corpus = {"layout": "simulated_radiology", "path": "radlib/simulate", "title": "Simulated radiology"}
    photographs = {"layout": "simulated_photographs", "path": "radlib/simulate"}
    task = {
        "layout": "simulated_task", "path": "radlib/simulate", "negative": "benign", "positive": "malignant",
        "folds": folds, "published_delta": 0.04,
    }  # fmt: skip
    params = {
        "name": "fabricated",
        "title": "Fabricated runs",
        "seed": 5,
        "data": {},
        "backbones": {name: {"size": 80} for name in backbones},
        "sources": ["radiology", "photographs", "random"],
        "corpora": {"radiology": corpus, "photographs": {**photographs, "title": "Simulated photographs"}},
        "checkpoints": {},
        "tasks": {name: {**task, "title": TITLES.get(name, name)} for name in tasks},
        "pretrain": {"size": 80, "epochs": 1},
        "transfer": {
            "settings": [{"train": train, "lr": lr} for train, lr in SETTINGS],
            "epochs": {"frozen": 1, "top10": 1, "all": 1},
        },
        "compare": {
            "pairs": [["radiology", "photographs"], ["photographs", "random"]],
            "headline": ["radiology", "photographs"],
            "resamples": 400,
        },
        "validity": {
            "studies": 20,
            "cells": [{"measure": "auc", "patients": [12, 12], "level": 0.75, "delta": 0.08}],
        },
        **changes,
    }
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return load_study(path=path)


def fabricate(
    study: Study, strength: dict[str, float], patients: int = 80, seed: int = 0, pretraining: float = 0.0
) -> None:
    """Write results of all tasks: `strength[source]` is how far positives score above negatives, in SD.

    A pretraining adds N(0, pretraining^2) to it, on all tasks. Two images a patient; noise of patients and
    images is shared by all runs, as real test images would be.
    """
    for number, task in enumerate(study.tasks):
        rng = np.random.default_rng([seed, number])
        folds = [
            _test_part(fold, patients // study.tasks[task].folds) for fold in range(study.tasks[task].folds)
        ]
        shared = [rng.normal(0, 1, len(f)) + np.repeat(rng.normal(0, 0.5, len(f) // 2), 2) for f in folds]
        runs, predictions = [], []
        for run in study.runs_of(task):
            part, name = folds[run.fold], run.name
            of_weights = np.random.default_rng([seed, *str(run.weights).encode()]).normal(0, pretraining)
            signal = (strength[run.source] + of_weights) * part["label"].to_numpy()
            scores = 1 / (1 + np.exp(-(signal + shared[run.fold] + rng.normal(0, 0.5, len(part)))))
            runs.append(
                {
                    "run": name, "task": task, "source": run.source, "backbone": run.backbone,
                    "train": run.train, "lr": run.lr, "fold": run.fold, "seed": run.seed,
                    "replicate": run.replicate, "best_epoch": 1,
                    "val_loss": rng.uniform(0.4, 0.7), "val_auc": rng.uniform(0.6, 0.9),
                    "val_threshold": 0.6,
                    "test_auc": float(aucs(scores[np.newaxis], part["label"].to_numpy())[0]),
                    "n_trainable": 2049, "seconds": 1.0, "data_digest": task,
                    "weights_digest": str(run.weights), "diverged": False,
                }
            )  # fmt: skip
            predictions.append(part.assign(run=name, fold=run.fold, score=scores))
        write_results(study, task, pd.DataFrame(runs), pd.concat(predictions, ignore_index=True))


def _test_part(fold: int, patients: int) -> pd.DataFrame:
    patient = np.repeat(np.arange(patients), 2)
    return pd.DataFrame(
        {
            "image_id": [f"f{fold}_{i:04d}" for i in range(2 * patients)],
            "patient_id": [f"f{fold}_p{p:03d}" for p in patient],
            "label": patient % 2,
        }
    )


def read_results(study: Study, task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = study.result_dir(task)
    return pd.read_parquet(folder / "runs.parquet"), pd.read_parquet(folder / "predictions.parquet")


def write_results(study: Study, task: str, runs: pd.DataFrame, predictions: pd.DataFrame) -> None:
    folder = study.result_dir(task)
    folder.mkdir(parents=True, exist_ok=True)
    runs.to_parquet(folder / "runs.parquet", index=False)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    audit = study.dataset_dir(task) / "audit.json"
    if not audit.is_file():
        audit.parent.mkdir(parents=True, exist_ok=True)
        audit.write_text(json.dumps({"patients_published": True, "patients_guessed": False, "joined": {}}))
    if not (folder / "localisation.parquet").is_file():
        columns = ["run", "image_id", "patient_id", "fold", *MAP_FIGURES]
        pd.DataFrame(columns=columns).to_parquet(folder / "localisation.parquet", index=False)


def covers(found, truth: float, confidence: float = 0.95) -> bool:
    """Whether the interval of an `Estimate` covers the true value."""
    low, high = found.interval(confidence)
    return low <= truth <= high
