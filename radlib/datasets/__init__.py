"""Readers of published layouts: one short module each, listed in `READERS`.

A reader is `read(path, **options) -> list[Record]`; it opens tables and lists files, and decodes no image. It
raises UserError for whatever it finds wrong; its signature says which options there are, and of which type.
"""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from radlib.datasets import (
    busi,
    cc_ccii,
    collection,
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
from radlib.study.common import fault_of

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
    "collection": collection.read,
}


def check_options(
    function: Callable, layout: str, options: dict[str, Any], given: tuple[str, ...]
) -> dict[str, Any]:
    """The options as arguments of `function`, of the types that its signature has; `given` are no options.

    Raises:
        UserError: an unknown option (the allowed ones are named), a missing one, or an impossible value.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
        if name not in given
    }
    for name in options:
        if name not in parameters:
            listed = ", ".join(["ignore", "patient_spellings", *parameters])
            raise UserError(f"layout '{layout}' has no option '{name}'; allowed: {listed}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise UserError(f"layout '{layout}' needs the option '{name}'; give it under `options`")
    types = {name: (parameter.annotation, None) for name, parameter in parameters.items()}
    model = create_model(layout, __config__=ConfigDict(coerce_numbers_to_str=True), **types)
    try:
        checked = model(**options)
        return {name: getattr(checked, name) for name in checked.model_fields_set}
    except ValidationError as exc:
        error = exc.errors()[0]
        raise UserError(f"option '{_place(error['loc'], options)}': {fault_of(error)}") from exc


def _place(loc: tuple[str | int, ...], options: Any) -> str:
    """`sets.head.max`; what pydantic adds to it, such as which type of several was tried, is left out."""
    names = []
    for name in loc:
        if not isinstance(options, dict):
            break
        names.append(str(name))
        options = options.get(name)
    return ".".join(names)


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
    reader = READERS[layout]
    given = {"salt": salt, "progress": progress, "read_layout": partial(read, salt=salt)}
    taken = inspect.signature(reader).parameters.keys() & given
    if "salt" in taken and "salt" in options:
        raise UserError(
            "option 'salt' would be copied into the report with params.yaml; keep it in a file and name "
            "that: salt_file: /safe/place/salt.txt"
        )
    options = check_options(reader, layout, options, given=("path", *given))
    return reader(path, **{name: given[name] for name in taken}, **options)


__all__ = ["READERS", "FileRef", "Outline", "PixelsRef", "Record", "check_options", "read"]
