"""Readers of published layouts: one short module each, listed in `READERS`.

A reader is `read(path, **options) -> list[Record]`; it opens tables and lists files, and decodes no image.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radlib.datasets import busi, ddti, folders, table
from radlib.datasets.record import FileRef, Record
from radlib.errors import UserError

READERS: dict[str, Callable[..., list[Record]]] = {
    "folders": folders.read,
    "table": table.read,
    "busi": busi.read,
    "ddti": ddti.read,
}


def check_options(function: Callable, layout: str, options: dict[str, Any], given: tuple[str, ...]) -> None:
    """UserError where `options` are not arguments of `function`, or a needed one is missing."""
    parameters = [p for p in list(inspect.signature(function).parameters.values()) if p.name not in given]
    allowed = [p.name for p in parameters]
    for name in options:
        if name not in allowed:
            listed = ", ".join(["ignore", *allowed])
            raise UserError(f"layout '{layout}' has no option '{name}'; allowed: {listed}")
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and parameter.name not in options:
            raise UserError(f"layout '{layout}' needs the option '{parameter.name}'; give it under `options`")


def read(layout: str, path: Path, options: dict[str, Any]) -> list[Record]:
    """Read a dataset in its published layout.

    Raises:
        UserError: unknown layout or option (the allowed ones are named), or what the reader finds wrong.
    """
    if layout not in READERS:
        raise UserError(f"no layout '{layout}'; allowed: {', '.join(READERS)}, simulated_...")
    check_options(READERS[layout], layout, options, given=("path",))
    return READERS[layout](path, **options)


__all__ = ["READERS", "FileRef", "Record", "check_options", "read"]
