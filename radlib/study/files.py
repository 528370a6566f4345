"""`params.yaml` read into a `Study`, and one sentence for whatever is wrong with it."""

import copy
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from radlib.errors import UserError
from radlib.study.common import fault_of
from radlib.study.study import Study


class _Loader(yaml.SafeLoader):
    """YAML as it is, but that a key may stand in one place only, and numbers are what they look like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in seen:
                raise UserError(
                    f"'{key.value}' stands twice, at lines {seen[key.value]} and {line}, and the second "
                    "would replace the first; join the two"
                )
            seen[key.value] = line
        return super().construct_mapping(node, deep)


def _plain_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    """YAML takes 0123 for 83, an octal number, and 1:30 for 90, minutes and seconds."""
    number = loader.construct_yaml_int(node)
    if node.value.replace("_", "").lstrip("+") != str(number):
        raise UserError(
            f"line {node.start_mark.line + 1} has {node.value}, which YAML reads as {number}; write numbers "
            "without a leading zero, and put what is text in quotes"
        )
    return number


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


def load_study(overrides: dict[str, Any] | None = None, path: str | Path | None = None) -> Study:
    """Read `params.yaml` (found in this folder or above) and apply dotted overrides.

    Args:
        overrides: for example `{"transfer.epochs.all": 5}`; only keys of the study are accepted, those that
            the file leaves out among them.
        path: another study file; its folder (or the one above `studies/`) becomes the root.
    Raises:
        UserError: file missing, not UTF-8 or not YAML; a key that is unknown, there twice, or of an
            impossible value, which is named.
    """
    path = Path(path) if path else _find_params()
    params = read_params(path)
    study = _validated(params, path)
    if not overrides:
        return study
    if not isinstance(overrides, dict):
        raise UserError(
            f"overrides is {overrides!r}; write keys and values, such as {{'transfer.epochs.frozen': 5}}"
        )
    for key, value in overrides.items():
        _override(params, key, value)
    return _validated(params, path, "overrides")


def _validated(params: dict, path: Path, said: str = "") -> Study:
    folder = path.resolve().parent
    params = {**copy.deepcopy(params), "root": folder.parent if folder.name == "studies" else folder}
    try:
        names = Study.model_validate(params).names()
        return Study.model_validate(params, context=names)
    except ValidationError as exc:
        raise UserError(f"{said or path.name}: {_one_sentence(exc, said)}") from exc


def _find_params() -> Path:
    here = Path.cwd()
    for folder in [here, *here.parents]:
        if (folder / "params.yaml").is_file():
            return folder / "params.yaml"
    raise UserError(
        f"no params.yaml in {here} or above it; start from the repository's folder, or type: make study "
        "STUDY=demo"
    )


def _override(params: dict, dotted: str, value: Any) -> None:
    """Set one key of `params`, which may leave out sections; that the key is known, the types say later."""
    if not isinstance(dotted, str):
        raise UserError(
            f"overrides: {dotted!r} is no key; write it as text, such as 'transfer.epochs.frozen'"
        )
    *parents, leaf = dotted.split(".")
    node: Any = params
    for depth, key in enumerate(parents):
        named = depth == 1 and parents[0] in ("backbones", "corpora", "checkpoints", "tasks")
        if named and key not in node:
            raise UserError(f"overrides: no key '{dotted}'; allowed at {parents[0]}: {', '.join(node)}")
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise UserError(f"overrides: no key '{dotted}', for '{key}' holds no keys; give it whole")
    node[leaf] = value


def _one_sentence(exc: ValidationError, said: str) -> str:
    # A misspelt key is also a missing one; name what was written, not what was meant.
    error = min(exc.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed_keys(error["loc"][:-1]))
        return f"unknown key '{key}'; allowed there: {allowed}{more}"
    fault = fault_of(error)
    if error["type"] == "missing" and said:
        fault += "; a section is replaced whole, so write one key for each value: 'transfer.epochs.frozen'"
    return f"'{key}': {fault}{more}" if key else f"{fault}{more}"


def _allowed_keys(loc: tuple) -> list[str]:
    model: Any = Study
    for part in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
        args = [a for a in getattr(model, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = args[-1] if args else model
    fields = getattr(model, "model_fields", {})
    return [name for name in fields if name != "root"]
