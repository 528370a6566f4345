"""How alike do networks of two sources see the same images? (12_similarity)

Unbiased linear CKA (`radlib.stats.cka`) between what the stages of two networks of one architecture say of
the test patients of a task's first fold, before transfer and after it. A patient's features are the mean over
its images. Two sets of random weights are the measure of "alike": they share nothing but their architecture.

Halves of the patients give the interval, the same for all pairs, stages and states; trained networks are
taken as they are, each having been trained once.
"""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from radlib.errors import of_task
from radlib.networks.weights import random_source
from radlib.questions.verdicts import diverged, estimate_columns, patients_drawn
from radlib.seeds import seed_of
from radlib.show import style
from radlib.show.findings import (
    HIGHER,
    LOWER,
    NO_VERDICT,
    NOT_SHOWN,
    Finding,
    direction,
    finding_of,
    over,
)
from radlib.show.table import COUNT, ORIGIN, TASK, Column, Table, interval_columns, with_ends
from radlib.stats.bootstrap import bootstrap_delta
from radlib.stats.cka import FEWEST_POINTS, rank_correlation, subsampled_cka
from radlib.study import Run, Study
from radlib.study.common import RANDOM
from radlib.study.titles import TRAIN, counted, ordered_pairs, source_title, task_title
from radlib.training.grid import Finished, carry_out
from radlib.training.results import Results, paired_runs
from radlib.training.stages import POOLED, StagesGroup

NO_TASKS = (
    "This study names no task in `similarity.tasks`, so nothing is compared; below is the method alone."
)
BEFORE, AFTER = "before", "after"
TWICE = "two random initialisations"
DRAWS = (RANDOM, random_source(2))
_CKA, _CHANGE = ("cka", "ci_low", "ci_high"), ("change", "change_low", "change_high")
_DELTA = ("delta", "delta_low", "delta_high")
_SAID = {
    BEFORE: ("CKA before transfer", _CKA, ".3f"),
    AFTER: ("CKA after transfer minus before", _CHANGE, "+.3f"),
}
ABOUT = ["run", "image_id", "patient_id", "fold"]
MARKERS = "os^vD<>P*X"
VERDICTS = {
    (BEFORE, HIGHER): f"more alike than {TWICE}",
    (BEFORE, LOWER): f"less alike than {TWICE}",
    (AFTER, HIGHER): "transfer makes them more alike",
    (AFTER, LOWER): "transfer makes them less alike",
}
SIMILARITY = Table(
    "similarity.csv",
    "similarity",
    "task, network, state, pair of sources and stage",
    [
        TASK,
        Column("backbone", "network", "network"),
        Column("state", "of both networks: before transfer or after it", "state"),
        Column("one", "a source", "source", source_title),
        Column("other", "the source beside it", "and", source_title),
        Column("stage", "number of the stage, from the image on"),
        Column("module", "what ends the stage; the last is what a head reads", "stage"),
        *interval_columns(_CKA, "unbiased linear CKA; 1: alike, 0: nothing in common", "CKA", ".3f"),
        *interval_columns(_CHANGE, "CKA after transfer minus before", "after minus before"),
        *interval_columns(_DELTA, "last stage: AUC after one source minus the other", "AUC difference"),
        Column("verdict", "before: beside two sets of random weights; after: beside before", "verdict"),
        Column("n_patients", "test patients", "patients", COUNT),
        *ORIGIN,
    ],
    index=5,
)


def stages_runs(study: Study, task: str) -> list[Run]:
    """Every source and network before transfer, on the first fold, and the first setting of `after`."""
    options, seed = study.similarity, study.transfer.seeds[0]
    backbones = options.backbones or list(study.backbones)
    before = [
        Run(task, source, backbone, "frozen", 0.0, 0, seed)
        for backbone in backbones
        for source in dict.fromkeys([*study.sources, *DRAWS])
        if backbone in study.backbones_of(source)
    ]
    trained = [r for r in study.runs_of(task) if r.train == options.after and (r.fold, r.seed) == (0, seed)]
    after = {(r.backbone, r.source): r for r in reversed(trained) if r.backbone in backbones}
    return before + list(after.values())


def similarity(study: Study, results: Results) -> pd.DataFrame:
    """`SIMILARITY`: trains again what is asked for after transfer, unless the store has it.

    Raises:
        UserError: data or weights are missing, or too few test patients or resamples for an interval.
    """
    rows = []
    for task in study.similarity.tasks:
        runs = stages_runs(study, task)
        # One network at a time: those that share names of stages need not have them in one order.
        for backbone in dict.fromkeys(run.backbone for run in runs):
            own = [run for run in runs if run.backbone == backbone]
            done = carry_out(study, task, own, StagesGroup, f"stages of {backbone} in {task}")
            for row in _rows(study, task, done):
                row |= {"task": task, "backbone": backbone}
                if row["module"] == POOLED:
                    row |= _auc_difference(study, task, results, row)
                rows.append(row)
    return SIMILARITY.frame(rows, study)


def _features(study: Study, task: str, done: Finished, stages: list[str]) -> dict:
    """(state, source, stage) -> float64 (patients, channels), of one network; none of runs that diverged."""
    said, seed = done.predictions, seed_of(study.seed, "similarity", task)
    kept = np.random.default_rng(seed).permutation(np.unique(said["patient_id"]))[: study.similarity.patients]
    found = {}
    for run in done.runs[~done.runs["diverged"]].to_dict("records"):
        own = said[(said["run"] == run["run"]) & said["patient_id"].isin(kept)]
        state = BEFORE if run["train"] == "frozen" else AFTER
        for stage in stages:
            images = pd.DataFrame(np.stack([np.frombuffer(x, np.float32) for x in own[stage]]), dtype=float)
            means = images.groupby(own["patient_id"].to_numpy()).mean()
            found[state, run["source"], stage] = means.to_numpy()
    return found


@of_task
def _rows(study: Study, task: str, done: Finished) -> list[dict]:
    """Of one network: a row per state, pair and stage; of a pair of which one diverged, that it did."""
    stages = [name for name in done.predictions if name not in ABOUT]
    pairs, features = dict.fromkeys([*ordered_pairs(study), DRAWS]), _features(study, task, done, stages)
    asked = [
        (state, *pair, stage)
        for state, pair, stage in product((BEFORE, AFTER), pairs, stages)
        if all((state, source, stage) in features for source in pair)
    ]
    places = {key: place for place, key in enumerate(features)}
    numbers = [(places[state, one, stage], places[state, other, stage]) for state, one, other, stage in asked]
    seed = seed_of(study.seed, "halves", task)
    together = subsampled_cka(list(features.values()), numbers, study.compare.resamples, seed)
    found = {key: together.columns(place) for place, key in enumerate(asked)}
    rows = []
    for (state, one, other, stage), estimate in found.items():
        row = {"state": state, "one": one, "other": other, "module": stage, "stage": stages.index(stage) + 1}
        row |= {"n_patients": estimate.patients} | estimate_columns(study, estimate, _CKA)
        against = found.get((BEFORE, *(DRAWS if state == BEFORE else (one, other)), stage))
        if against is None:
            row["verdict"] = (
                f"{NO_VERDICT}: before transfer a network diverged, with which it would be compared"
            )
        elif (one, other) != DRAWS:
            change = estimate_columns(study, estimate - against, _CHANGE)
            way = direction(change["change_low"], change["change_high"])
            row |= {"verdict": VERDICTS.get((state, way), NOT_SHOWN)} | (change if state == AFTER else {})
        rows.append(row)
    of_state = np.where(done.runs["train"] == "frozen", BEFORE, AFTER)
    for state, (one, other) in product((BEFORE, AFTER), pairs):
        both = done.runs[(of_state == state) & done.runs["source"].isin([one, other])]
        if len(both) == 2 and (lost := diverged(both)):
            row = {"state": state, "one": one, "other": other, "module": POOLED, "stage": len(stages)}
            rows.append(row | {"diverged": lost})
    return rows


@of_task
def _auc_difference(study: Study, task: str, results: Results, row: dict) -> dict:
    """Of the runs of 04_transfer in the same state, over all folds; nothing of none, or if some diverged."""
    train = "frozen" if row["state"] == BEFORE else study.similarity.after
    runs = results.of_task(task)
    runs = runs[(runs["backbone"] == row["backbone"]) & (runs["train"] == train)]
    sides = paired_runs(runs, (row["one"], row["other"]))
    if sides[0].empty or diverged(*sides):
        return {}
    a, b = (results.scores(task, side) for side in sides)
    return estimate_columns(study, bootstrap_delta(a, b, **patients_drawn(study, task)), _DELTA)


# Figures --------------------------------------------------------------------------------------------------
def stages_figure(study: Study, table: pd.DataFrame, task: str) -> Figure:
    """CKA by stage: a panel per network and state, a line per pair; a band for the pair of the headline."""
    some = table[table["task"] == task]
    panels = list(some.groupby(["backbone", "state"], sort=False))
    xlabel = "stage, from the image to the pooled features"
    looks = _looks(study, some)
    margin = (0.8, 0.8 + 0.17 * len(looks))
    figure, axes = style.panel_rows(study, len(panels), 2, margin, (3.8, 2.7), xlabel, "unbiased CKA")
    for panel, ((backbone, state), rows) in zip(axes, panels, strict=True):
        style.quiet(panel).set(title=f"{backbone},\n{state} transfer{trained_words(study, rows)}")
        drawn = some[(some["backbone"] == backbone) & (some["one"] == DRAWS[0]) & (some["other"] == DRAWS[1])]
        panel.plot(drawn["stage"], drawn["cka"], **looks[DRAWS])
        for pair, line in rows.groupby(["one", "other"], sort=False):
            if pair == tuple(study.compare.headline):
                style.banded(panel, line["stage"], *(line[name] for name in _CKA), **looks[pair])
            elif pair in looks and pair != DRAWS:
                panel.plot(line["stage"], line["cka"], **looks[pair])
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylim(max(some["ci_low"].min() - 0.05, -0.5), 1.03)  # of all: they share it
    patients = f"{some['n_patients'].max():.0f} test patients"
    title = f"{task_title(study, task)}: how alike networks of two sources see {patients}\n"
    title += f"(band: {study.compare.confidence:.0%} interval over patients)"
    handles = [Line2D([], [], label=pair_words(study, pair), **look) for pair, look in looks.items()]
    style.legend_above(figure, handles, 2, title)
    return figure


def trained_words(study: Study, rows: pd.DataFrame) -> str:
    """After transfer: which layers trained, and from which stage on that shows; rows: of one network."""
    changed = rows.loc[rows["change"].notna() & (rows["change"] != 0), "stage"]
    if (rows["state"] == BEFORE).all() or changed.empty:
        return ""
    since = f", from stage {changed.min():.0f} on" if changed.min() > 1 else ""
    return f" ({TRAIN[study.similarity.after]} trained{since})"


def _looks(study: Study, table: pd.DataFrame) -> dict[tuple[str, str], dict]:
    """How pairs are drawn: the headline's in colour, the others in grey, each with its marker.

    There are as many as `MARKERS`; further pairs are in the table alone.
    """
    pairs = [pair for pair in dict.fromkeys(zip(table["one"], table["other"], strict=True)) if pair != DRAWS]
    looks = {DRAWS: {"color": "black", "lw": 1.4, "ls": "--", "zorder": 2}}
    for pair, marker in zip(pairs, MARKERS, strict=False):
        ahead = pair == tuple(study.compare.headline)
        looks[pair] = {"color": style.ACCENT if ahead else "0.55", "lw": 2.2 if ahead else 0.9}
        looks[pair] |= {"marker": marker, "ms": 4.5, "zorder": 3 if ahead else 2}
    return looks


def pair_words(study: Study, pair: tuple[str, str]) -> str:
    """`A and B`."""
    if pair == DRAWS:
        return f"{TWICE}, before transfer"
    return " and ".join(source_title(study, one) for one in pair)


def scatter_figure(study: Study, table: pd.DataFrame) -> Figure:
    """Size of the difference in AUC against CKA of what the heads read; hollow before transfer.

    A panel per task and network, a marker per pair.
    """
    some = table.dropna(subset="delta")
    labels = "unbiased CKA of what the heads read", "size of the difference in AUC"
    panels = list(some.groupby(["task", "backbone"], sort=False)) or [(("", ""), some)]
    looks = _looks(study, some)
    margin = (0.8, 0.8 + 0.17 * len(looks))
    figure, axes = style.panel_rows(study, len(panels), 3, margin, (3.8, 2.7), *labels, sharex=True)
    for panel, ((task, backbone), rows) in zip(axes, panels, strict=True):
        style.quiet(panel).set(title=f"{task_title(study, task)}, {backbone}" if task else "")
        for row in rows.to_dict("records"):
            look = looks.get((row["one"], row["other"]), {})
            _point(panel, row, **{name: look[name] for name in ("color", "marker") if name in look})
        panel.set_ylim(bottom=0)
    shown = {pair: look | {"ls": ""} for pair, look in looks.items() if pair != DRAWS}
    handles = [Line2D([], [], label=pair_words(study, pair), **look) for pair, look in shown.items()]
    title = f"{correlation_words(study, table)}\n(hollow: before transfer; filled: after it)"
    style.legend_above(figure, handles, 2, title)
    return figure


def _point(panel: Axes, row: dict, color: str = "0.55", marker: str = ".") -> None:
    """A pair's CKA and size of difference; an interval of the difference that covers 0 begins at size 0."""
    ends = [row[name] for name in _DELTA[1:]]
    low = 0 if ends[0] <= 0 <= ends[1] else min(map(abs, ends))
    panel.plot([row["ci_low"], row["ci_high"]], [abs(row["delta"])] * 2, color=color, lw=0.7)
    panel.plot([row["cka"]] * 2, [low, max(map(abs, ends))], color=color, lw=0.7)
    face = "white" if row["state"] == BEFORE else color
    panel.plot(row["cka"], abs(row["delta"]), marker, color=color, mfc=face, ms=6, clip_on=False)


def correlation_words(study: Study, table: pd.DataFrame) -> str:
    """Rank correlation of CKA and the size of the difference in AUC, or why there is none."""
    some = table.dropna(subset="delta")
    points = counted(len(some), "point")
    if len(some) < FEWEST_POINTS:
        return f"{points}: too few for a rank correlation"
    found = rank_correlation(some["cka"], some["delta"].abs(), study.compare.confidence)
    return f"rank correlation {with_ends(*found, '+.2f')}, {points}"


def similarity_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """What the heads read after the two headline sources: how alike before transfer, and what it changes."""
    pair, found = study.compare.headline, []
    for row in table[table["module"] == POOLED].to_dict("records"):
        if (row["one"], row["other"]) == pair:
            what, *columns = _SAID[row["state"]]
            subject = f"{what}, of what the heads read, {task_title(study, row['task'])}, {row['backbone']}"
            patients = table.loc[table["task"] == row["task"], "n_patients"].max()  # none where one diverged
            subject += f", {patients:.0f} test patients: {pair_words(study, pair)} {over(row)}"
            found.append(finding_of(row, subject, row["verdict"], *columns))
    said = Finding("CKA and size of the difference in AUC", correlation_words(study, table))
    return [*found, said] if found else []
