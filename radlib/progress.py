"""A bar with the time left, where the user looks: the terminal of the pipeline, or the notebook."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm
from tqdm.auto import tqdm as notebook_tqdm

PROGRESS_FILE = "RADLIB_PROGRESS_FILE"
# Work advances by fractions of an image, which nobody wants to read.
WHOLE = "{l_bar}{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}, {rate_fmt}]"
# A first guess comes from the slow start (files, first batch) and would be hours for what takes seconds.
GUESS_FROM, GUESS_AFTER = 0.03, 30.0  # of the work; seconds, for what takes hours


class _Patient:
    """A bar that shows the time left only once there is something to tell it from, and ends at its total."""

    @property
    def format_dict(self) -> dict:
        shown = super().format_dict
        # A total is an estimate. tqdm forgets one that is passed, and could then not write `WHOLE`.
        shown["n"] = min(shown["n"], shown["total"] or math.inf)
        early = shown["elapsed"] < GUESS_AFTER and shown["n"] < GUESS_FROM * (shown["total"] or 0)
        if early:
            shown["bar_format"] = (shown["bar_format"] or WHOLE).replace("{remaining}", "?")
        return shown


class _Bar(_Patient, tqdm):
    pass


class _NotebookBar(_Patient, notebook_tqdm):
    pass


def progress(iterable: Iterable | None = None, total: float | None = None, description: str = "", **options):
    """A bar with the time left: on the terminal that started the pipeline, or in the notebook.

    A notebook run by the pipeline must hold no trace of a bar, so the runner names a file, tails it and
    shows it on its own terminal.
    """
    options = {"total": total, "desc": description, "leave": False, "smoothing": 0.05, **options}
    bar = _NotebookBar if "ipykernel" in sys.modules else _Bar
    if PROGRESS_FILE in os.environ:
        file = Path(os.environ[PROGRESS_FILE]).open("a", buffering=1)  # noqa: SIM115
        bar, options = _Bar, {"file": file, "mininterval": 1.0, "ncols": 100, **options}
    return bar(iterable, **options)


def work_bar(total: float, description: str, unit: str = "img"):
    """A bar for work of a known amount, which may be no whole number."""
    return progress(total=math.ceil(total), description=description, unit=unit, bar_format=WHOLE)


def on_threads(function: Callable, items: Sequence, ahead: int) -> Iterator:
    """`function` of every item, in order, on all processors; at most `ahead` results wait to be taken."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), ahead):
            yield from pool.map(function, items[start : start + ahead])
