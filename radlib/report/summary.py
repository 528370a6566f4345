"""What the summary shows that belongs to no single question: headline, published values, data, limits."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.errors import UserError
from radlib.questions.auc.sources import FIXED, SAMPLE, mean_rows
from radlib.questions.patients import audit_of, patients_sentence
from radlib.questions.start import SHORTCUT
from radlib.show.style import (
    BAND,
    UNDECIDED,
    difference_axis,
    difference_mark,
    intervals,
    legend_above,
    of_pair,
    signed,
    span,
    write_beside,
)
from radlib.show.table import DIFFERENCE, MEAN, number
from radlib.stats.estimate import PATIENTS
from radlib.store import write_json
from radlib.study import Study
from radlib.study.titles import ESTIMATES, TRAIN, source_title, task_title

PUBLISHED = {True: ("published, same data", "black"), False: ("published, not the same data", "0.5")}
"""Whether the data are the same -> what the figure says, and its colour."""


def headline_figure(study: Study, pretrained: pd.DataFrame, tasks: pd.DataFrame) -> Figure:
    """The headline pair by task and network, and what else is higher or lower than its second source.

    Published differences are open diamonds.

    Args:
        pretrained: `SOURCES`; tasks: `TASKS`.
    """
    pair, base = tuple(study.compare.headline), study.compare.headline[1]
    counting = set(study.compared_tasks) - set(tasks["task"][tasks["counts"] == "no"])
    titles = {task: task_title(study, task, counting) for task in study.compared_tasks}
    marks = [*_of_headline(study, pretrained, titles), *_beside(study, pretrained, tasks)]
    rows = [mark["row"] for mark in marks]
    diamond = {"color": "none", "marker": "d", "mfc": "white", "mew": 1.3}
    published = {
        task: study.tasks[task]
        for task, title in titles.items()
        if study.tasks[task].published_delta is not None and title in rows
    }
    words = [PUBLISHED[same] for same in sorted({t.same_data_as_published for t in published.values()})]
    handles = [Line2D([], [], mec=edge, label=label, **diamond) for label, edge in words]
    figure, (panel,) = intervals(study, pd.DataFrame(marks).assign(panel=""), "", line=0)
    difference_axis(panel, study, pair, "AUC")
    panel.axvspan(-study.compare.equivalence, study.compare.equivalence, color=BAND, lw=0, zorder=0)
    for y, mark in enumerate(marks):
        write_beside(panel, y, signed(mark))
        if mark.get("begins"):
            panel.axhline(y - 0.55, color="0.75", lw=0.8)
    for task, one in published.items():
        _, edge = PUBLISHED[one.same_data_as_published]
        place = rows.index(titles[task]) + 0.24  # below the line, lest it hides the mark
        panel.plot(one.published_delta, place, mec=edge, ms=7, zorder=5, **diamond)
    ends = [mark[end] for mark in marks for end in ("ci_low", "ci_high")]
    limit = span(ends + [one.published_delta for one in published.values()])
    panel.set_xlim(-limit, limit)
    what = f"AUC minus that of {source_title(study, base)}, {ESTIMATES[study.claimed]}"
    said = "(hollow: the interval covers no difference; band: too small to matter)"
    legend_above(figure, handles, title=f"{what}, {study.compare.confidence:.0%} interval\n{said}")
    return figure


def _of_headline(study: Study, pretrained: pd.DataFrame, titles: dict[str, str]) -> list[dict]:
    """A mark per task, per network and for the mean of both."""
    pair = tuple(study.compare.headline)
    rows = of_pair(pretrained, pair, study.claimed)
    of_tasks = rows[rows["task"] != MEAN].groupby("task", sort=False).last().reset_index()
    marks = [
        difference_mark(study, row | {"row": titles[row["task"]]}) for row in of_tasks.to_dict("records")
    ]
    for row in mean_rows(study, pretrained).to_dict("records"):
        if row["networks"] == FIXED:
            marks.append(difference_mark(study, row | {"row": FIXED}, "D") | {"begins": True})
        elif row["networks"] != SAMPLE:
            marks.append(difference_mark(study, row | {"row": f"{row['networks']}, {MEAN}"}))
    return marks


def _beside(study: Study, pretrained: pd.DataFrame, tasks: pd.DataFrame) -> list[dict]:
    """Every other source, and the shortcut classifier, minus the second source of the headline."""
    a, base = study.compare.headline
    marks = []
    for source in study.sources:
        rows = [mean_rows(study, pretrained, pair) for pair in ((source, base), (base, source))]
        if source in (a, base) or all(some.empty for some in rows):
            continue
        row = next(some[some["networks"] != SAMPLE].iloc[-1].to_dict() for some in rows if len(some))
        if row["source_b"] != base:
            row |= {"delta": -row["delta"], "ci_low": -row["ci_high"], "ci_high": -row["ci_low"]}
        row |= {"source_a": source, "source_b": base}
        where = "" if row["networks"] == FIXED else f", {row['networks']}"
        marks.append(difference_mark(study, row | {"row": source_title(study, source) + where}))
    ranked = study.compare.rank_by  # by which the second source has the AUC that the classifier is set beside
    beside = "" if study.estimate_of(ranked) == study.claimed else f", minus {TRAIN[ranked]}"
    counting = tasks[tasks["counts"] == "yes"]  # the mean is the last, or there is a single task
    shortcut = counting[-1:].dropna(subset="under")
    for row in shortcut.to_dict("records"):
        ends = {"delta": row["under"], "ci_low": row["under_low"], "ci_high": row["under_high"]}
        ends |= {"row": SHORTCUT + beside, "value": row["under"], "colour": UNDECIDED, "marker": "s"}
        marks.append(ends | {"filled": row["under_low"] > 0 or row["under_high"] < 0})
    return [mark | {"begins": place == 0} for place, mark in enumerate(marks)]


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
        audit = audit_of(study, name)
        named = audit["patients_published"] or audit["patients_guessed"]  # or documents stand for them
        rows.append(
            {
                "dataset": dataset.title,
                "use": "corpus" if not is_task else "task" if name in study.trained_tasks else "external set",
                "patients": f"{manifest['patient_id'].nunique():,}" if named else "not named",
                "images": len(manifest),
                "positive": f"{int(manifest['label'].sum()):,}" if is_task and not dataset.classes else "",
                "classes": manifest["label"].nunique(),
                "dropped": len(pd.read_csv(folder / "dropped.csv")),
                "images are": "simulated" if dataset.simulated else "real",
                "publisher": dataset.publisher,
            }
        )
    return pd.DataFrame(rows).set_index("dataset")


def limits(study: Study, claim: dict | None) -> list[str]:
    """What the study cannot say, from how it was set up: the limits that apply, the gravest first.

    Args:
        claim: of `radlib.questions.auc.sources.claim_of`.
    """
    trainings = (
        "Intervals cover the variation between test patients alone. Another training, with another seed, may "
        "give another difference: `09_validity` shows how often such intervals cover that of any training."
    )
    said = [
        trainings if claim and claim["resampled"] == PATIENTS and not study.claims_a_probe else "",
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
        return "Published files are one pretraining each, so of them the study speaks of these weights."
    most = {source_title(study, source): study.corpora[source].max_images for source in here}
    cut = "; ".join(f"{title} to {images:,} images" for title, images in most.items() if images)
    networks = [(source, name) for source in here for name in study.backbones_of(source)]
    epochs = [study.pretrain_of(name).epochs for _, name in networks]
    short = f"{_range(epochs)} epoch{'' if max(epochs) == 1 else 's'}{f', cut down ({cut})' if cut else ''}"
    times = [study.replicates_of(*network) for network in networks]
    if max(times) == 1:
        return f"Each source was pretrained once, so the study speaks of these weights, not of it: {short}."
    return (
        f"Each source was pretrained {_range(times)} times, for {short}: other images, more of them, or "
        "longer training may give another difference. Published files are one pretraining each."
    )


def _range(numbers: list[int]) -> str:
    """`3`, or `1 to 3`."""
    return " to ".join(str(number) for number in sorted({min(numbers), max(numbers)}))


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
        return table[list(DIFFERENCE)].astype(float).iloc[0].to_dict()
    return {word: _nested(some, keys[1:]) for word, some in table.groupby(keys[0])}
