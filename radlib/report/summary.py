"""What the summary shows that belongs to no single question: headline, published values, data, limits."""

import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.errors import UserError
from radlib.questions.patients import patients_sentence
from radlib.show.style import forest, of_pair, signed, span
from radlib.show.table import number
from radlib.stats.estimate import PATIENTS
from radlib.store import write_json
from radlib.study import Study
from radlib.study.common import PROBES
from radlib.study.titles import counted, pair_title, source_title, task_title

PUBLISHED = {True: ("published, same data", "black"), False: ("published, not the same data", "0.5")}
"""Whether the data are the same -> what the figure says, and its colour."""


def headline_figure(study: Study, table: pd.DataFrame, overall: pd.DataFrame) -> Figure:
    """Headline pair: every task and their mean; published differences as open diamonds."""
    pair = tuple(study.compare.headline)
    tasks, mean = (of_pair(some, pair, "grid_mean") for some in (table, overall))
    titles = [task_title(study, task) for task in tasks["task"]]
    mean = mean.assign(row=f"mean over {counted(mean['n_tasks'].iloc[0], 'task')}")
    rows = pd.concat([tasks.assign(row=titles), mean[mean["n_tasks"] > 1]])
    diamond = {"color": "none", "marker": "d", "mfc": "white", "mew": 1.3}
    published = [task for task in map(study.tasks.get, tasks["task"]) if task.published_delta is not None]
    words = [PUBLISHED[same] for same in sorted({task.same_data_as_published for task in published})]
    handles = [Line2D([], [], mec=edge, label=label, **diamond) for label, edge in words]
    figure = forest(study, rows, pair_title(study, pair), band=True, handles=handles)
    (panel,) = figure.axes
    for task in published:
        _, edge = PUBLISHED[task.same_data_as_published]
        place = titles.index(task.title) + 0.24  # below the line, lest it hides the mark
        panel.plot(task.published_delta, place, mec=edge, ms=7, zorder=5, **diamond)
    deltas = pd.Series([task.published_delta for task in published], dtype=float)
    limit = span(rows["ci_low"], rows["ci_high"], deltas)
    panel.set_xlim(-limit, limit)
    return figure


def beside_published(study: Study, table: pd.DataFrame) -> pd.DataFrame | None:
    """Headline differences task by task and the published ones; None where the study compares none."""
    rows = []
    for _, row in of_pair(table, tuple(study.compare.headline), "grid_mean").iterrows():
        task, delta = study.tasks[row["task"]], study.tasks[row["task"]].published_delta
        if delta is not None:
            rows.append(
                {
                    "task": task.title,
                    "this study": signed(row),
                    "published": number(delta, "+.3f"),
                    "interval covers it": "yes" if row["ci_low"] <= delta <= row["ci_high"] else "no",
                    "same data": "yes" if task.same_data_as_published else "no",
                }
            )
    return pd.DataFrame(rows).set_index("task") if rows else None


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
                "use": "corpus" if not is_task else "task" if name in study.trained_tasks else "external set",
                "patients": f"{manifest['patient_id'].nunique():,}" if _named(folder) else "not named",
                "images": len(manifest),
                "positive": f"{int(manifest['label'].sum()):,}" if is_task and not dataset.classes else "",
                "classes": manifest["label"].nunique(),
                "dropped": len(pd.read_csv(folder / "dropped.csv")),
                "images are": "simulated" if dataset.simulated else "real",
                "publisher": dataset.publisher,
            }
        )
    return pd.DataFrame(rows).set_index("dataset")


def _named(folder: Path) -> bool:
    """Whether the publisher of a prepared dataset names patients, or documents that stand for them."""
    audit = json.loads((folder / "audit.json").read_text())
    return audit["patients_published"] or audit["patients_guessed"]


def limits(study: Study, overall: pd.DataFrame) -> list[str]:
    """What the study cannot say, from how it was set up: the limits that apply, the gravest first."""
    row = of_pair(overall, tuple(study.compare.headline), "grid_mean").iloc[0]
    trainings = (
        "Intervals cover the variation between test patients alone. Another training, with another seed, may "
        "give another difference: `09_validity` shows how often such intervals cover that of any training."
    )
    said = [
        trainings if row["resampled"] == PATIENTS and study.transfer.averaged[0] not in PROBES else "",
        _pretrainings(study),
        _seen(study),
        patients_sentence(study),
        "The mean over tasks is about these tasks, each counting the same, and takes their patients as "
        "different people. Intervals of the setting chosen by validation take the choice as given.",
        f"A difference in AUC below {study.compare.equivalence:g} is called too small to matter "
        "(`compare.equivalence`). That is a choice, not a measurement; where results of the same data were "
        "known before it was made, equivalence is exploratory.",
    ]
    return [text for text in said if text]


def _pretrainings(study: Study) -> str:
    here = [source for source in study.sources if source in study.corpora]
    if not here:
        return "There is one set of weights of each source, so the study speaks of these weights."
    most = {source_title(study, source): study.corpora[source].max_images for source in here}
    cut = "; ".join(f"{title} to {images:,} images" for title, images in most.items() if images)
    return (
        "Each source was pretrained once, so the study speaks of these weights, not of the source: "
        f"{counted(study.pretrain.epochs, 'epoch')}{f', cut down ({cut})' if cut else ''}."
    )


def _seen(study: Study) -> str:
    """Which weights may know images of a task already (`may_have_seen`); empty without any."""
    seen = {
        source_title(study, name): " and ".join(study.tasks[task].title for task in checkpoint.may_have_seen)
        for name, checkpoint in study.checkpoints.items()
        if checkpoint.may_have_seen
    }
    pairs = "; ".join(f"{title}: {tasks}" for title, tasks in seen.items())
    return (
        f"Some weights may have been trained on images of a task, or chosen by it: {pairs}." if seen else ""
    )


def save_metrics(
    study: Study, table: pd.DataFrame, overall: pd.DataFrame, dice: pd.DataFrame, controls: pd.DataFrame
) -> None:
    """Write `metrics.json`, what `dvc metrics show` prints: differences with their intervals.

    Whether all controls passed (null without any), AUC of every pair over all tasks, AUC and Dice of the
    headline pair task by task; from `auc.csv`, `overall.csv`, `dice.csv` and `controls.csv`.
    """
    pair = tuple(study.compare.headline)
    named = overall.assign(pair=overall["source_a"] + "_minus_" + overall["source_b"])
    metrics = {
        "study": study.name,
        "simulated": study.simulated,
        "controls_passed": bool(controls["passed"].all()) if len(controls) else None,
        "overall": _nested(named, ["pair", "estimate"]),
        "tasks": _nested(of_pair(table, pair), ["task", "estimate"]),
        "lesions": _nested(of_pair(dice, pair), ["task", "method", "metric"]),
    }
    write_json(metrics, study.report_dir / "metrics.json")


def _nested(table: pd.DataFrame, keys: list[str]) -> dict:
    """A dictionary in a dictionary for every key; the innermost has the difference and its ends."""
    if not keys:
        return table[["delta", "ci_low", "ci_high"]].astype(float).iloc[0].to_dict()
    return {word: _nested(some, keys[1:]) for word, some in table.groupby(keys[0])}
