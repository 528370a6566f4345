"""Words and tables of what corpora hold of the tasks, written from the numbers and from nothing else."""

import pandas as pd

from radlib.questions.auc.findings import with_interval
from radlib.study import Study
from radlib.study.titles import counted, pair_title, source_title, task_title

NO_CORPUS = "No source is pretrained here, so there is no corpus to look into."
_FIGURES = ["delta", "ci_low", "ci_high"]


def overlap_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`overlap.csv` for readers."""
    return pd.DataFrame(
        {
            "corpus": [source_title(study, source) for source in table["source"]],
            "task": [task_title(study, task) for task in table["task"]],
            "images of the task": table["n_images"].to_numpy(),
            "found in the corpus": table["n_found"].to_numpy(),
            "in its training part": table["n_found_training"].to_numpy(),
            "found and tested": table["n_tested_found"].to_numpy(),
            "pair": [_pair(study, row) for _, row in table.iterrows()],
            "a − b": [_range(row, "") for _, row in table.iterrows()],
            "without the found": [_range(row, "_without") for _, row in table.iterrows()],
            "images are": ["simulated" if s else "real" for s in table["simulated"]],
        }
    ).set_index(["corpus", "task"])


def overlap_lesson(study: Study, table: pd.DataFrame) -> list[str]:
    """Corpus by corpus: what of which task it holds, each difference without it, and what cannot be known."""
    if table.empty:
        return [NO_CORPUS]
    said = []
    for source, rows in table.groupby("source", sort=False):
        found = rows[rows["n_found"] > 0]
        for task, some in found.groupby("task", sort=False):
            said.append(f"**{_found(study, source, task, some.iloc[0])}**{_differences(study, some)}")
        without = [task_title(study, task) for task in rows.loc[rows["n_found"] == 0, "task"]]
        if without:
            said.append(f"No image is found in {source_title(study, source)} of: {', '.join(without)}.")
    return [*said, _lower_bound(study)]


def overlap_limits(study: Study, table: pd.DataFrame) -> list[str]:
    """What the study cannot say because of images that were found; of the headline where it is concerned."""
    said = []
    for (source, task), rows in table[table["n_tested_found"] > 0].groupby(["source", "task"], sort=False):
        headline = (rows["source_a"] == study.compare.headline[0]) & (
            rows["source_b"] == study.compare.headline[1]
        )
        differences = _differences(study, rows[headline] if headline.any() else rows)
        found = _found(study, source, task, rows.iloc[0])
        said.append(f"It cannot say that no source has seen the test images: {found}{differences}")
    return said


def _found(study: Study, source: str, task: str, row: pd.Series) -> str:
    """`14 of 999 images of Pneumonia CXR lie in Medical MNIST, 12 of them in its training part`."""
    lie = "lies" if row["n_found"] == 1 else "lie"
    images = f"{row['n_found']:,} of {counted(row['n_images'], 'image')}"
    text = f"{images} of {task_title(study, task)} {lie} in {source_title(study, source)}"
    return f"{text}, {row['n_found_training']:,} of them in its training part"


def _differences(study: Study, rows: pd.DataFrame) -> str:
    """Each pair's difference on all test images and without those found; the end of a sentence."""
    row = rows.iloc[0]
    if not row["n_tested_found"]:
        return "; none of them is a test image."
    if pd.isna(row["source_a"]):
        return "; no pair of sources with runs in common has this one."
    pairs = "; ".join(_difference(study, one) for _, one in rows.iterrows())
    return f". Found and tested: {row['n_tested_found']:,}. Difference in AUC: {pairs}."


def _difference(study: Study, row: pd.Series) -> str:
    whole = f"{_pair(study, row)} {with_interval(row, study.compare.confidence)} with them, "
    if pd.notna(row["not_compared"]):
        return f"{whole}and none can be given without ({row['not_compared']})"
    left = pd.Series({name: row[f"{name}_without"] for name in _FIGURES})
    return f"{whole}{with_interval(left, study.compare.confidence)} without"


def _lower_bound(study: Study) -> str:
    published = [source_title(study, source) for source in study.sources if source in study.checkpoints]
    text = (
        "These counts are lower bounds: other pictures of the same patients cannot be recognised, nor copies "
        "that were cropped, turned or mirrored"
    )
    if not published:
        return f"{text}."
    return f"{text}. What {' and '.join(published)} learnt from cannot be looked at here."


def _pair(study: Study, row: pd.Series) -> str:
    return "" if pd.isna(row["source_a"]) else pair_title(study, (row["source_a"], row["source_b"]))


def _range(row: pd.Series, ending: str) -> str:
    """`+0.031 [+0.012, +0.050]`, with a true minus sign; empty where there is none."""
    value, low, high = (row[f"{name}{ending}"] for name in _FIGURES)
    return "" if pd.isna(value) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]".replace("-", "−")
