"""Tables of the summary that belong to no question: published values, data, pretraining, notebooks."""

import json
from pathlib import Path

import pandas as pd

from radlib.errors import UserError
from radlib.show.style import of_pair, signed
from radlib.show.table import number
from radlib.study import Study
from radlib.study.titles import source_title


def beside_published(study: Study, table: pd.DataFrame) -> pd.DataFrame | None:
    """Headline differences task by task and the published ones; None where the study compares none."""
    rows = []
    for _, row in of_pair(table, tuple(study.compare.headline), "grid_mean").iterrows():
        task = study.tasks[row["task"]]
        if task.published_delta is not None:
            inside = row["ci_low"] <= task.published_delta <= row["ci_high"]
            rows.append(
                {
                    "task": task.title,
                    "this study": signed(row),
                    "published": number(task.published_delta, "+.3f"),
                    "interval covers it": "yes" if inside else "no",
                    "same data": "yes" if task.same_data_as_published else "no",
                }
            )
    return pd.DataFrame(rows).set_index("task") if rows else None


def pretraining_table(study: Study) -> pd.DataFrame | None:
    """Held-out accuracy of every network pretrained here, in %; None where none was."""
    rows = []
    for source in study.sources:
        for backbone in study.backbones_of(source):
            path = study.model_file(source, backbone).with_suffix(".json")
            if path.is_file():
                rows.append(json.loads(path.read_text()))
    if not rows:
        return None
    wanted = ["source", "backbone", "top1", "top5", "balanced_accuracy", "n_images", "epochs"]
    table = pd.DataFrame(rows)[wanted]
    table["source"] = [source_title(study, s) for s in table["source"]]
    percent = ["top1", "top5", "balanced_accuracy"]
    table[percent] = (100 * table[percent]).round(1)
    names = ["source", "backbone", "top-1, %", "top-5, %", "balanced accuracy, %", "images", "epochs"]
    return table.set_axis(names, axis=1)


def data_table(study: Study) -> pd.DataFrame:
    """Images, patients and positives of every dataset as used, and how many images were dropped.

    Raises:
        UserError: a dataset has not been prepared.
    """
    rows = []
    for name in [*study.corpora, *study.tasks]:
        folder = study.dataset_dir(name)
        if not (folder / "manifest.parquet").is_file():
            raise UserError(f"dataset '{name}' is not prepared in {folder}; run dvc repro")
        manifest = pd.read_parquet(folder / "manifest.parquet", columns=["patient_id", "label"])
        dataset, is_task = study.dataset(name), name in study.tasks
        rows.append(
            {
                "dataset": dataset.title,
                "use": "task" if is_task else "corpus",
                "patients": f"{manifest['patient_id'].nunique():,}" if named(folder) else "not named",
                "images": len(manifest),
                "positive": f"{int(manifest['label'].sum()):,}" if is_task else "",
                "classes": manifest["label"].nunique(),
                "dropped": len(pd.read_csv(folder / "dropped.csv")),
                "images are": "simulated" if dataset.simulated else "real",
                "publisher": dataset.publisher,
            }
        )
    return pd.DataFrame(rows).set_index("dataset")


def named(folder: Path) -> bool:
    """Whether the publisher of a prepared dataset names patients, or documents that stand for them."""
    audit = json.loads((folder / "audit.json").read_text())
    return audit["patients_published"] or audit["patients_guessed"]


def notebook_links(study: Study, base: str = "notebooks") -> str:
    """A Markdown list of the executed notebooks; `base` is their folder as seen from the page."""
    groups = {
        "Data": [f"01_data-{name}" for name in [*study.corpora, *study.tasks]],
        "Pretraining": [f"02_pretrain-{corpus}" for corpus in study.corpora],
        "Transfer": [f"03_transfer-{task}" for task in study.tasks],
        "Segmentation": [f"05_segment-{task}" for task in study.segment.tasks],
        "Controls": ["11_controls"],
        "Comparison": [
            "04_auc",
            "06_dice",
            "08_validity",
            "09_confounds",
            "10_label_efficiency",
            "12_matched_labels",
            "13_beyond_the_mean",
        ],  # fmt: skip
    }
    lines = []
    for title, names in groups.items():
        links = ", ".join(f"[{name}]({base}/{name}.ipynb)" for name in names)
        if links:
            lines.append(f"- {title}: {links}")
    return "\n".join(lines)
