"""Notes which values of a study each DVC stage reads: one line `stage<TAB>key` in the file $RADLIB_READS.

Python imports a module of this name as it starts, where its folder is on PYTHONPATH.
"""

import os
import sys
from pathlib import Path

WATCHED: dict[int, str] = {}  # id of a section of the study -> its dotted key
KEPT: list = []  # so that no id is used twice
NOTED: set[str] = set()


def note(key: str) -> None:
    line = f"{os.environ.get('DVC_STAGE', '')}\t{key}\n"
    if line not in NOTED and "RADLIB_READS" in os.environ:
        NOTED.add(line)
        with Path(os.environ["RADLIB_READS"]).open("a") as lines:
            lines.write(line)


def watch(value, key: str) -> None:
    """Sections below `value`, in mappings and lists too, are noted under their keys."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        KEPT.append(value)
        WATCHED[id(value)] = key
        for name in type(value).model_fields:
            watch(value.__dict__[name], f"{key}.{name}".lstrip("."))
    elif isinstance(value, dict):
        for name, item in value.items():
            watch(item, f"{key}.{name}")
    elif isinstance(value, list):
        for item in value:
            watch(item, key)


def holds_sections(value) -> bool:
    from pydantic import BaseModel

    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return any(isinstance(item, BaseModel) for item in items)


def install() -> None:
    from radlib import study
    from radlib.study import common, files
    from radlib.study import study as module

    plain_get, plain_repr = common.Strict.__getattribute__, common.Strict.__repr__
    plain_load, plain_state = files.load_study, module.Study.__setstate__

    def noted_get(self, name):
        value = plain_get(self, name)
        key = WATCHED.get(id(self))
        if key is not None and name in type(self).model_fields and not holds_sections(value):
            note(f"{key}.{name}".lstrip("."))
        return value

    def noted_repr(self):
        if id(self) in WATCHED:
            note(WATCHED[id(self)])
        return plain_repr(self)

    def noted_load(*arguments, **named):
        loaded = plain_load(*arguments, **named)
        # what starts a stage compares the whole study with what DVC knows of it
        if "radlib" not in sys.argv[0]:
            watch(loaded, "")
        return loaded

    def noted_state(self, state):  # in the processes that work for a notebook
        plain_state(self, state)
        watch(self, "")

    common.Strict.__getattribute__, common.Strict.__repr__ = noted_get, noted_repr
    files.load_study = study.load_study = noted_load
    module.Study.__setstate__ = noted_state


if "RADLIB_READS" in os.environ:
    install()
