"""A study file as a dictionary, and the sentences for files that are none."""

from pathlib import Path
from typing import Any

import yaml

from radlib.errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML as it is, but that a key may stand in one place only."""


def _no_key_twice(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict:
    seen: dict[str, int] = {}
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        line = key.start_mark.line + 1
        if key.value in seen:
            raise UserError(
                f"'{key.value}' stands twice, at lines {seen[key.value]} and {line}, and the second would "
                "replace the first; join the two"
            )
        seen[key.value] = line
    return loader.construct_mapping(node, deep)


def _mapping(loader: _Loader, node: yaml.MappingNode):
    mapping: dict = {}
    yield mapping
    mapping.update(_no_key_twice(loader, node))


def _plain_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    """YAML takes 0123 for 83, an octal number, and 1:30 for 90, minutes and seconds."""
    number = loader.construct_yaml_int(node)
    if node.value.replace("_", "").lstrip("+") != str(number):
        raise UserError(
            f"line {node.start_mark.line + 1} has {node.value}, which YAML reads as {number}; write numbers "
            "without a leading zero, and put what is text in quotes"
        )
    return number


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _plain_number)


def read_params(path: Path) -> dict[str, Any]:
    """The keys and values of a study file.

    Raises:
        UserError: missing, not saved as UTF-8, not YAML, or a key twice; says where.
    """
    if not path.is_file():
        raise UserError(f"no study file {path}; choose one of studies/*.yaml")
    data = path.read_bytes()
    try:
        params = yaml.load(data.decode("utf-8-sig"), _Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise UserError(
            f"{path} is not saved as UTF-8 (line {line}); save it again with the encoding UTF-8"
        ) from exc
    except UserError as exc:
        raise UserError(f"{path}: {exc}") from exc
    except yaml.YAMLError as exc:
        raise UserError(f"{path} is not valid YAML{_where(exc)}; mend it there") from exc
    if not isinstance(params, dict):
        raise UserError(f"{path} holds no study: expected keys such as name, tasks and transfer")
    return params


def _where(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    line = f" at line {mark.line + 1}" if mark else ""
    return f"{line} ({getattr(exc, 'problem', None) or str(exc).splitlines()[0]})"
