"""Readers of published layouts: one short module each, listed in `READERS`.

A reader is `read(path, **options) -> list[Record]`; it opens tables and lists files, and decodes no image.
"""

import inspect
from collections.abc import Callable
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

_MODULES = (
    folders,
    table,
    busi,
    ddti,
    ddti_original,
    mrnet,
    rsna_pneumonia,
    rsna_haemorrhage,
    cc_ccii,
    covid_csv,
    radimagenet,
    medmnist,
)
READERS: dict[str, Callable[..., list[Record]]] = {
    module.__name__.rpartition(".")[2]: module.read for module in _MODULES
}


def check_options(function: Callable, layout: str, options: dict[str, Any], given: tuple[str, ...]) -> None:
    """UserError where `options` are not arguments of `function`, or a needed one is missing."""
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in given}
    for name in options:
        if name not in parameters:
            listed = ", ".join(["ignore", "patient_spellings", *parameters])
            raise UserError(f"layout '{layout}' has no option '{name}'; allowed: {listed}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise UserError(f"layout '{layout}' needs the option '{name}'; give it under `options`")


def read(
    layout: str,
    path: Path,
    options: dict[str, Any],
    salt: str = "",
    progress: Callable = lambda items, **_: items,
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
    reader, given = READERS[layout], {"salt": salt, "progress": progress}
    taken = inspect.signature(reader).parameters.keys() & given
    if "salt" in taken and "salt" in options:
        raise UserError(
            "option 'salt' would be copied into the report with params.yaml; keep it in a file and name "
            "that: salt_file: /safe/place/salt.txt"
        )
    check_options(reader, layout, options, given=("path", *given))
    return reader(path, **{name: given[name] for name in taken}, **options)


__all__ = ["READERS", "FileRef", "Outline", "PixelsRef", "Record", "check_options", "read"]
