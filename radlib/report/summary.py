"""What the summary shows that belongs to no single question: headline, published values, data."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.errors import UserError
from radlib.questions.auc.show_sources import of_these_networks
from radlib.questions.auc.sources import (
    ALL_TASKS,
    FIXED,
    SAMPLE,
    by_network,
    mean_of_pair,
    of_single_tasks,
    with_pretrainings,
)
from radlib.questions.patients import audit_of
from radlib.questions.start import SHORTCUT
from radlib.show.style import (
    BAND,
    UNDECIDED,
    difference_axis,
    difference_mark,
    draw_mark,
    legend_above,
    mark_simulated,
    of_pair,
    quiet,
    row_axis,
    signed,
    span,
    write_beside,
)
from radlib.show.table import DIFFERENCE, MEAN, number, with_ends
from radlib.stats.estimate import PATIENTS
from radlib.store import write_json
from radlib.study import Study
from radlib.study.datasets import Task
from radlib.study.titles import TRAIN, estimate_title, source_title, task_title

PUBLISHED = {True: ("published, same data", "black"), False: ("published, other data", "0.5")}
"""Whether the data are the same -> what the figure says, and its colour."""
OTHER = "the row's source"  # side a of the lower panel's differences


def headline_figure(
    study: Study, claim: dict | None, pretrained: pd.DataFrame, tasks: pd.DataFrame
) -> Figure:
    """The headline pair, the claim first, then by network and task; below, others minus its second source.

    Published differences are crosses.

    Args:
        claim: of `claim_of`; pretrained: `SOURCES`; tasks: `TASKS`.
    """
    pair = tuple(study.compare.headline)
    parts = [
        (pair, _of_headline(study, claim, pretrained, tasks)),
        ((OTHER, pair[1]), _beside(study, pretrained, tasks)),
    ]
    parts = [(sides, marks) for sides, marks in parts if marks]
    counts = [len(marks) for _, marks in parts]
    figure, axes = plt.subplots(
        len(parts),
        1,
        figsize=(8.2, 1.6 + 0.5 * len(parts) + 0.34 * sum(counts)),
        sharex=True,
        squeeze=False,
        height_ratios=counts,
        layout="constrained",
    )
    for panel, (sides, marks) in zip(axes[:, 0], parts, strict=True):
        row_axis(quiet(panel), [mark["row"] for mark in marks])
        if sides == pair:
            panel.get_yticklabels()[0].set_fontweight("bold")  # the claim
        difference_axis(panel, study, sides, "AUC")
        panel.axvline(0, color="0.25", lw=1, zorder=1)
        panel.axvspan(-study.compare.equivalence, study.compare.equivalence, color=BAND, lw=0, zorder=0)
        for y, mark in enumerate(marks):
            draw_mark(panel, mark, y)
            write_beside(panel, y, signed(mark))
            if mark.get("published") is not None:
                panel.plot(mark["published"], y, "x", color=PUBLISHED[mark["same"]][1], ms=7, mew=2, zorder=5)
    every = [mark for _, marks in parts for mark in marks]
    ends = [
        mark[end] for mark in every for end in ("ci_low", "ci_high", "published") if mark.get(end) is not None
    ]
    panel.set_xlim(-span(ends), span(ends))
    axes[0, 0].label_outer()
    mark_simulated(figure, study)
    words = [PUBLISHED[same] for same in sorted({mark["same"] for mark in every if mark.get("published")})]
    handles = [
        Line2D([], [], color=colour, marker="x", ms=7, mew=2, ls="", label=word) for word, colour in words
    ]
    covered = every[0].get("resampled", PATIENTS)
    others = [f"{m['row']}: {m['resampled']}" for m in every if m.get("resampled", covered) != covered]
    notes = [*others, "hollow: no difference shown", "band: too small to matter"]
    title = f"Difference in AUC, {estimate_title(study, study.claimed)}, with "
    title += f"{study.compare.confidence:.0%} intervals over {covered}\n({'; '.join(notes)})"
    legend_above(figure, handles, title=title)
    return figure


def _of_headline(
    study: Study, claim: dict | None, pretrained: pd.DataFrame, tasks: pd.DataFrame
) -> list[dict]:
    """A mark for the mean, which is the claim, then per network and per task.

    Of a single task that counts, the claim is that task's own difference, and it has no second row.
    """
    rows = by_network(study, of_pair(pretrained, study.compare.headline, study.claimed))
    rows = rows[rows["networks"] != SAMPLE]
    counting = set(study.compared_tasks) - set(tasks["task"][tasks["counts"] == "no"])
    *alone, _ = rows[rows["task"] == MEAN].to_dict("records") or [None]  # the last is the claim's own
    title, single, marks = f"mean over {len(counting)} tasks", "", []
    if claim and len(counting) == 1:
        (single,) = counting
        title = f"{task_title(study, single)}: the only task that counts"
        claim = claim | _published(study.tasks[single])
    marks += [difference_mark(study, claim | {"row": title}, "D")] if claim else []
    marks += [difference_mark(study, row | {"row": f"{row['networks']} alone"}) for row in alone]
    last = of_these_networks(rows)
    for row in last[last["task"] == ALL_TASKS].to_dict("records"):
        marks.append(difference_mark(study, row | {"row": ALL_TASKS}, "D"))
    for row in last[of_single_tasks(last) & (last["task"] != single)].to_dict("records"):
        row |= {"row": task_title(study, row["task"], counting), **_published(study.tasks[row["task"]])}
        marks.append(difference_mark(study, row))
    return marks


def _published(task: Task) -> dict:
    return {"published": task.published_delta, "same": task.same_data_as_published}


def _beside(study: Study, pretrained: pd.DataFrame, tasks: pd.DataFrame) -> list[dict]:
    """Every other source, and the shortcut classifier, minus the second source of the headline."""
    a, base = study.compare.headline
    marks = []
    for source in study.sources:
        row = mean_of_pair(study, pretrained, (source, base))
        if source in (a, base) or row is None:
            continue
        where = "" if row["networks"] == FIXED else f", {row['networks']} alone"
        marks.append(difference_mark(study, row | {"row": source_title(study, source) + where}))
    ranked = study.compare.rank_by  # by which the second source has the AUC that the classifier is set beside
    beside = "" if study.estimate_of(ranked) == study.claimed else f", minus {TRAIN[ranked]}"
    counting = tasks[tasks["counts"] == "yes"]  # the mean is the last, or there is a single task
    for row in counting[-1:].dropna(subset="under").to_dict("records"):
        ends = {"delta": row["under"], "ci_low": row["under_low"], "ci_high": row["under_high"]}
        ends |= {"row": SHORTCUT + beside, "value": row["under"], "colour": UNDECIDED, "marker": "s"}
        ends |= {"resampled": PATIENTS, "filled": row["under_low"] > 0 or row["under_high"] < 0}
        marks.append(ends)
    return marks


def beside_published(study: Study, table: pd.DataFrame, pretrained: pd.DataFrame) -> pd.DataFrame | None:
    """Headline differences as the claim takes them, and published ones; None where it compares none.

    Published are differences of RadImageNet's weights minus ImageNet's.

    Args:
        table: `AUC`; pretrained: `SOURCES`.
    """
    rows = []
    for one in of_pair(table, study.compare.headline, study.claimed).to_dict("records"):
        row = with_pretrainings(one, pretrained)
        task, delta = study.tasks[row["task"]], study.tasks[row["task"]].published_delta
        if delta is not None:
            ends = [row[name] for name in DIFFERENCE]
            rows.append(
                {
                    "task": task.title,
                    f"this study, {estimate_title(study, study.claimed)}": with_ends(*ends, "+.3f"),
                    "published, RadImageNet − ImageNet": number(delta, "+.3f"),
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
        manifest = pd.read_parquet(folder / "manifest.parquet", columns=["image_id", "patient_id", "label"])
        dropped = pd.read_csv(folder / "dropped.csv")
        dataset, is_task = study.dataset(name), name in study.tasks
        audit = audit_of(study, name)
        known = audit["patients_published"] or audit["patients_guessed"]  # or documents stand for them
        # Who is not named is called as one of the images is.
        some = not manifest["patient_id"].isin([*manifest["image_id"], *dropped["image_id"]]).all()
        patients = f"{manifest['patient_id'].nunique():,}" if known else "named in part" * some or "not named"
        rows.append(
            {
                "dataset": dataset.title,
                "use": "corpus" if not is_task else "task" if name in study.trained_tasks else "external set",
                "patients": patients,
                "images": f"{len(manifest):,}",
                "by class": _both(dataset, manifest["label"]) if is_task else "",
                "classes": manifest["label"].nunique(),
                "not used": f"{len(dropped):,}",
                "images are": "simulated" if dataset.simulated else "real",
                "publisher": dataset.publisher,
            }
        )
    return pd.DataFrame(rows).set_index("dataset")


def _both(task: Task, labels: pd.Series) -> str:
    """`204 malignant, 429 benign`; of several classes each in turn."""
    names = task.classes or [task.negative, task.positive]
    counts = [f"{int((labels == number).sum()):,} {name}" for number, name in enumerate(names)]
    return ", ".join(counts if task.classes else counts[::-1])


def save_metrics(
    study: Study,
    claim: dict | None,
    table: pd.DataFrame,
    overall: pd.DataFrame,
    dice: pd.DataFrame,
    controls: pd.DataFrame,
) -> None:
    """Write `metrics.json`, what `dvc metrics show` prints: differences with their intervals.

    The claim (of `claim_of`), whether all controls passed (null without any), AUC of every pair over tasks,
    AUC and Dice of the headline pair by task; from `auc.csv`, `overall.csv`, `dice.csv` and `controls.csv`.
    """
    pair = tuple(study.compare.headline)
    named = overall.assign(pair=overall["source_a"] + "_minus_" + overall["source_b"])
    metrics = {
        "study": study.name,
        "simulated": study.simulated,
        "claim": {name: float(claim[name]) for name in DIFFERENCE} if claim else None,
        "controls_passed": bool(controls["passed"].all()) if len(controls) else None,
        "overall": _nested(named, ["pair", "estimate"]),
        "tasks": _nested(of_pair(table, pair), ["task", "estimate"]),
        "lesions": _nested(of_pair(dice, pair), ["task", "method", "metric"]),
    }
    write_json(metrics, study.report_dir / "metrics.json")


def _nested(table: pd.DataFrame, keys: list[str]) -> dict:
    """A dictionary in a dictionary for every key; the innermost has the difference and its ends."""
    if not keys:
        return table[list(DIFFERENCE)].astype(float).iloc[0].to_dict()
    return {word: _nested(some, keys[1:]) for word, some in table.groupby(keys[0])}
