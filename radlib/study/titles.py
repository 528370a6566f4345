"""How sources, settings and pairs are called wherever a reader sees them."""

from collections.abc import Collection

import pandas as pd

from radlib.study import Study

TRAIN = {
    "frozen": "frozen",
    "top10": "top 10 layers",
    "top": "last stage",
    "all": "all layers",
    "logistic": "logistic probe",
    "knn": "nearest neighbours",
}
ESTIMATES = {
    "grid_mean": "mean over the settings",
    "best_by_validation": "setting chosen by validation",
    **TRAIN,
}


def source_title(study: Study, source: str) -> str:
    """A corpus' or checkpoint's title; 'Random weights' without pretraining; words stay, as 'all sources'."""
    known = {**study.corpora, **study.checkpoints}
    if source in known:
        return known[source].title or source
    return source if " " in source else "Random weights"


def pair_title(study: Study, pair: tuple[str, str]) -> str:
    """`A − B`, in the order in which the difference is taken."""
    return f"{source_title(study, pair[0])} − {source_title(study, pair[1])}"


def task_title(study: Study, task: str, counting: Collection[str] | None = None) -> str:
    """A task's title; what is no task stays as it is, as 'mean over tasks'.

    Args:
        counting: tasks of which means are taken; a task that is not among them says so. None: all count.
    """
    if task not in study.tasks:
        return task
    left_out = counting is not None and task not in counting
    return study.tasks[task].title + (" (does not count)" if left_out else "")


def estimate_title(study: Study, estimate: str = "grid_mean") -> str:
    """What an estimate is called; a mean over the settings of one regime alone has that regime's name."""
    alone = estimate == "grid_mean" and len(study.transfer.averaged) == 1
    return TRAIN[study.transfer.averaged[0]] if alone else ESTIMATES[estimate]


def setting_title(backbone: str, train: str, lr: float) -> str:
    return f"{backbone}, {regime_title(train, lr)}"


def regime_title(train: str, lr: float) -> str:
    """`frozen, lr 0.01`; a probe has no rate."""
    return TRAIN[train] + (f", lr {lr:g}" if lr else "")


def ordered_pairs(study: Study) -> list[tuple[str, str]]:
    """The headline pair first, then the others as the study lists them, each once."""
    return list(dict.fromkeys([tuple(study.compare.headline), *map(tuple, study.compare.pairs)]))


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def aligned(table: pd.DataFrame, right: tuple[str, ...]) -> str:
    """A table of words as plain text: columns named in `right` end together, the others begin together."""
    lines = [list(table.columns), *table.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    )
