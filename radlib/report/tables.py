"""Tables of 04_auc and 07_summary as a reader sees them: rounded, with titles for names."""

import json

import pandas as pd

from radlib.errors import UserError
from radlib.questions.lesions.measured import METHODS, METRICS
from radlib.show.style import of_pair
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, source_title, task_title


def beside_published(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Headline differences task by task, the published one, and whether our interval holds it."""
    rows = []
    for _, row in of_pair(table, tuple(study.compare.headline), "grid_mean").iterrows():
        task = study.tasks[row["task"]]
        published = task.published_delta
        inside = None if published is None else bool(row["ci_low"] <= published <= row["ci_high"])
        rows.append(
            {
                "task": task.title,
                "patients": row["n_patients"],
                "this study": round(row["delta"], 3),
                "low": round(row["ci_low"], 3),
                "high": round(row["ci_high"], 3),
                "p (Holm)": _p(row["p_holm"]),
                "published": "none" if published is None else f"{published:+.3f}",
                "interval holds it": {None: "", True: "yes", False: "no"}[inside],
                "same data": "yes" if task.same_data_as_published else "no",
            }
        )
    return pd.DataFrame(rows).set_index("task")


def shown(study: Study, table: pd.DataFrame, estimate: str) -> pd.DataFrame:
    """The difference table for readers: rounded, titles for names, the simulated column kept."""
    some = pd.concat([of_pair(table, pair, estimate) for pair in ordered_pairs(study)])
    pairs = zip(some["source_a"], some["source_b"], strict=True)
    return pd.DataFrame(
        {
            "pair": [pair_title(study, pair) for pair in pairs],
            **({"task": [task_title(study, t) for t in some["task"]]} if "task" in some else {}),
            "AUC a": some["auc_a"].round(3).to_numpy(),
            "AUC b": some["auc_b"].round(3).to_numpy(),
            "difference": some["delta"].round(3).to_numpy(),
            "low": some["ci_low"].round(3).to_numpy(),
            "high": some["ci_high"].round(3).to_numpy(),
            "p": [_p(p) for p in some["p_value"]],
            **({"p (Holm)": [_p(p) for p in some["p_holm"]]} if "p_holm" in some else {}),
            "verdict": some["verdict"].to_numpy(),
            **({"after Holm": some["verdict_holm"].to_numpy()} if "verdict_holm" in some else {}),
            "interval holds": some["interval_holds"].to_numpy(),
            "patients": some["n_patients"].to_numpy(),
            "images": some["n_images"].to_numpy(),
            "positive": some["n_positive"].to_numpy(),
            "runs a side": some["n_runs"].to_numpy(),
            "images are": ["simulated" if s else "real" for s in some["simulated"]],
        }
    )


def lesions_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`dice.csv` for readers: rounded, with titles for names."""
    pairs = zip(table["source_a"], table["source_b"], strict=True)
    gains = table["relative_gain"], table["gain_low"], table["gain_high"]
    shown = pd.DataFrame(
        {
            "pair": [pair_title(study, pair) for pair in pairs],
            "task": [task_title(study, task) for task in table["task"]],
            "by": table["method"].map(METHODS).to_numpy(),
            "figure": table["metric"].map(METRICS).to_numpy(),
            **{
                name: table[column].round(3).to_numpy()
                for name, column in zip(
                    ["a", "b", "difference", "low", "high"],
                    ["mean_a", "mean_b", "delta", "ci_low", "ci_high"],
                    strict=True,
                )
            },
            "gain, %": [f"{g:+.0%} ({low:+.0%} to {high:+.0%})" for g, low, high in zip(*gains, strict=True)],
            "p (Holm)": [_p(p) for p in table["p_holm"]],
            "p (Wilcoxon)": [_p(p) for p in table["wilcoxon_p"]],
            "interval holds": table["interval_holds"].to_numpy(),
            "patients": table["n_patients"].to_numpy(),
            "images": table["n_images"].to_numpy(),
            "images are": ["simulated" if s else "real" for s in table["simulated"]],
        }
    )
    return shown.set_index(["pair", "by", "task", "figure"])


def resize_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`resize.csv` for readers: rounded, with titles for names."""
    names = [source if " " in source else source_title(study, source) for source in table["source"]]
    aspects = zip(table["aspect"], table["aspect_low"], table["aspect_high"], strict=True)
    numbers = {
        "letterbox": "mean_letterbox", "stretch": "mean_stretch", "difference": "delta", "low": "ci_low",
        "high": "ci_high",
    }  # fmt: skip
    shown = pd.DataFrame(
        {
            "task": [task_title(study, task) for task in table["task"]],
            "by": table["method"].map(METHODS),
            "figure": table["metric"].map(METRICS),
            "source": names,
            "aspect ratio": [f"{name} ({low:.2f} to {high:.2f})" for name, low, high in aspects],
            **{name: table[column].round(3) for name, column in numbers.items()},
            "p": [_p(p) for p in table["p_value"]],
            "patients": table["n_patients"],
            "images": table["n_images"],
            "images are": ["simulated" if s else "real" for s in table["simulated"]],
        }
    )
    return shown.set_index(["task", "by", "figure", "source", "aspect ratio"])


def efficiency_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`label_efficiency.csv` for readers: rounded, with titles for names."""
    numbers = {
        "AUC a": "auc_a", "AUC b": "auc_b", "difference": "delta", "low": "ci_low", "high": "ci_high",
        "p (Holm)": "p_holm", "more than with all": "excess", "from": "excess_low", "to": "excess_high",
        "p of it (Holm)": "excess_p_holm", "SD over draws": "sd_draws",
    }  # fmt: skip
    tested = ("p_holm", "excess_p_holm")
    pairs = zip(table["source_a"], table["source_b"], strict=True)
    shown = pd.DataFrame(
        {
            "task": [task_title(study, task) for task in table["task"]],
            "pair": [pair_title(study, pair) for pair in pairs],
            "part": [f"{fraction:.0%}" for fraction in table["fraction"]],
            "training patients": table["n_train_patients"],
            **{
                name: [_p(p) for p in table[column]] if column in tested else table[column].round(3)
                for name, column in numbers.items()
            },
            "interval over": table["interval_holds"],
            "test patients": table["n_patients"],
            "runs a side": table["n_runs"],
            "images are": ["simulated" if s else "real" for s in table["simulated"]],
        }
    )
    return shown.set_index(["task", "pair", "part"])


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
                "patients": manifest["patient_id"].nunique(),
                "images": len(manifest),
                "positive": f"{int(manifest['label'].sum()):,}" if is_task else "",
                "classes": manifest["label"].nunique(),
                "dropped": len(pd.read_csv(folder / "dropped.csv")),
                "images are": "simulated" if dataset.simulated else "real",
                "publisher": dataset.publisher,
            }
        )
    return pd.DataFrame(rows).set_index("dataset")


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


def _p(p: float) -> str:
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
