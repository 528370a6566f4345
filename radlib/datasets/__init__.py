"""Readers of published layouts: one short module each, listed in `READERS`.

A reader is `read(path, **options) -> list[Record]`; it opens tables and lists files, and decodes no image.
"""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from radlib.datasets import (
    busi,
    cc_ccii,
    covid_csv,
    ddti,
    ddti_original,
    folders,
    medmnist,
    mrnet,
    radimagenet,
    rsna_haemorrhage,
    rsna_pneumonia,
    table,
)
from radlib.datasets.record import FileRef, Outline, PixelsRef, Record
from radlib.errors import UserError

READERS: dict[str, Callable[..., list[Record]]] = {
    "folders": folders.read,
    "table": table.read,
    "busi": busi.read,
    "ddti": ddti.read,
    "ddti_original": ddti_original.read,
    "mrnet": mrnet.read,
    "rsna_pneumonia": rsna_pneumonia.read,
    "rsna_haemorrhage": rsna_haemorrhage.read,
    "cc_ccii": cc_ccii.read,
    "covid_csv": covid_csv.read,
    "radimagenet": radimagenet.read,
    "medmnist": medmnist.read,
}


def _silent(iterable: Iterable, **_) -> Iterable:
    return iterable


def check_options(function: Callable, layout: str, options: dict[str, Any], given: tuple[str, ...]) -> None:
    """UserError where `options` are not arguments of `function`, or a needed one is missing."""
    parameters = [p for p in list(inspect.signature(function).parameters.values()) if p.name not in given]
    allowed = [p.name for p in parameters]
    for name in options:
        if name not in allowed:
            listed = ", ".join(["ignore", "patient_spellings", *allowed])
            raise UserError(f"layout '{layout}' has no option '{name}'; allowed: {listed}")
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and parameter.name not in options:
            raise UserError(f"layout '{layout}' needs the option '{parameter.name}'; give it under `options`")


def read(
    layout: str, path: Path, options: dict[str, Any], salt: str = "", progress: Callable = _silent
) -> list[Record]:
    """Read a dataset in its published layout.

    Args:
        options: arguments of the reader, as the study gives them.
        salt: of the hash of patient ids, for readers that take one; public, unlike that of a `salt_file`.
        progress: wraps what takes long, for readers that open every file.
    Raises:
        UserError: unknown layout or option (the allowed ones are named), or what the reader finds wrong.
    """
    if layout not in READERS:
        raise UserError(f"no layout '{layout}'; allowed: {', '.join(READERS)}, simulated_...")
    taken = inspect.signature(READERS[layout]).parameters
    if "salt" in options and "salt" in taken:
        raise UserError(
            "option 'salt' would be copied into the report with params.yaml; keep it in a file and name "
            "that: salt_file: /safe/place/salt.txt"
        )
    check_options(READERS[layout], layout, options, given=("path", "progress", "salt"))
    given = {"salt": salt, "progress": progress}
    return READERS[layout](path, **{key: given[key] for key in given if key in taken} | options)


__all__ = ["READERS", "FileRef", "Outline", "PixelsRef", "Record", "check_options", "read"]
