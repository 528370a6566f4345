"""A study's predictions as its report keeps them: enough to compute the tables again, small enough to commit.

`reports/<study>/results/<task>/` holds the tables of `results/<task>/` with the same rows in the same order,
without what no table follows from: learning curves, times, and the maps and masks of single images. Beside
them `manifest.parquet` has the sides of the images with a lesion mask.

Figures keep all their 64 bits, so a table computed from them is the committed one, digit for digit. With 32
bits scores near 0 and 1 would tie, and ranks and last digits in `dice.csv` would move.

Names of images and patients become numbers in the order of the names. The bootstrap draws patients in that
order, so it draws the same ones, and a report that is passed on names nobody.
"""

import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from radlib.errors import UserError, explained
from radlib.store import write_table
from radlib.study import Study
from radlib.training.results import read_result

FOLDER = "results"
LARGEST = 20e6  # bytes that a report keeps
_NAMES = ["image_id", "patient_id"]
_MANIFEST = "manifest.parquet"
_SIDES = ["image_id", "has_mask", "width", "height"]


def keep(study: Study, largest: float = LARGEST) -> str:
    """Put the predictions of a finished study into its report; all of them or, beyond `largest` bytes, none.

    Returns:
        one sentence that says what was kept.
    Raises:
        UserError: a task has no results.
    """
    target = study.report_dir / FOLDER
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{FOLDER}.", dir=target.parent) as scratch:
        folder = Path(scratch) / FOLDER
        for task in study.trained_tasks:
            _keep_task(_tables(study, task), folder / task)
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        _remove_kept(target)
        if size > largest:
            return (
                f"The predictions take {size / 1e6:.1f} MB, more than the {largest / 1e6:g} MB that a report "
                f"keeps: make verify cannot compute its tables again"
            )
        folder.rename(target)
    return f"Kept the predictions for make verify: {size / 1e6:.1f} MB"


def _remove_kept(target: Path) -> None:
    """Remove what `keep` wrote before; UserError where there is anything else but what file browsers hide."""
    files = [path for path in target.rglob("*") if not path.is_dir()]
    seen = [path for path in files if path.name not in (".DS_Store", "Thumbs.db")]
    foreign = [path for path in seen if path.suffix != ".parquet" or path.parents[1] != target]
    if foreign:
        raise UserError(f"{foreign[0]} is no prediction of a study, and would be removed; move it away")
    if files:
        shutil.rmtree(target)


def is_kept(report: Path) -> bool:
    return (report / FOLDER).is_dir()


def restore(report: Path, study: Study) -> None:
    """Write the kept tables below the study's root, where 01_data, 04_transfer and 06_segment write them.

    Raises:
        UserError: a task has none, or a file is damaged.
    """
    for task in study.trained_tasks:
        files = sorted((report / FOLDER / task).glob("*.parquet"))
        if not files:
            raise UserError(
                f"{report / FOLDER} holds nothing of task '{task}'; bring it back: git restore {report}"
            )
        for path in files:
            folder = study.dataset_dir(task) if path.name == _MANIFEST else study.result_dir(task)
            write_table(_read(path), folder / path.name)


def _tables(study: Study, task: str) -> dict[str, pd.DataFrame]:
    """What is kept of a task, by file name: no learning curves, bytes (maps and masks) nor times."""
    folder, tables = study.result_dir(task), {}
    for path in sorted(folder.glob("*.parquet")):
        if path.stem != "history":
            table = pq.read_table(path)
            bulk = [f.name for f in table.schema if pa.types.is_binary(f.type) or f.name == "seconds"]
            tables[path.name] = table.drop_columns(bulk).to_pandas()
    if not tables:
        raise UserError(f"task '{task}' has no results in {folder}; run dvc repro to compute them")
    sides = read_result(study.dataset_dir(task) / _MANIFEST, task, _SIDES)[_SIDES]
    return tables | ({_MANIFEST: sides[sides["has_mask"]]} if sides["has_mask"].any() else {})


def _keep_task(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Equal tables give equal bytes; checksums let `_read` find a damaged page."""
    numbers = {name: _numbers([t[name] for t in tables.values() if name in t]) for name in _NAMES}
    folder.mkdir(parents=True)
    for file, table in tables.items():
        named = {name: table[name].map(numbers[name]) for name in _NAMES if name in table}
        arrow = pa.Table.from_pandas(table.assign(**named), preserve_index=False)
        figures = [field.name for field in arrow.schema if pa.types.is_floating(field.type)]
        pq.write_table(
            arrow,
            folder / file,
            compression="zstd",
            compression_level=19,
            write_page_checksum=True,
            use_dictionary=[name for name in arrow.column_names if name not in figures],
            column_encoding=dict.fromkeys(figures, "BYTE_STREAM_SPLIT"),
        )


def _numbers(columns: list[pd.Series]) -> dict[str, str]:
    """Every name's place among all names of the task, as digits that sort like the names."""
    names = sorted({str(name) for column in columns for name in column})
    return {name: f"{place:0{len(str(len(names)))}d}" for place, name in enumerate(names)}


def _read(path: Path) -> pd.DataFrame:
    kinds = pa.ArrowException, OSError, ValueError
    with explained(kinds, f"{path} is damaged", f"bring it back: git restore {path}"):
        return pq.read_table(path, page_checksum_verification=True).to_pandas()
