"""What sections share: they forbid unknown keys, name nothing twice, and name only what the study has."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, Gt, Len
from pydantic import AfterValidator, BaseModel, ConfigDict, FiniteFloat, ValidationInfo
from pydantic_core import ErrorDetails

Trained = Literal["frozen", "top10", "top", "all"]
PROBES = ("logistic", "knn")  # read stored features, and train by no gradient: no rate, epochs or seed
Train = Literal[Trained, "logistic", "knn"]
Resize = Literal["stretch", "letterbox"]
RANDOM = "random"


def is_random(source: str) -> bool:
    """`random`, or another draw of random weights: `random_2`, `random_3`, ..."""
    return re.fullmatch(rf"{RANDOM}(_\d+)?", source) is not None


class Strict(BaseModel):
    """No unknown keys, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _known(kind: str, *others: str) -> AfterValidator:
    """Names of a kind that `Study.names` lists, or others; asked when the study is known (`load_study`)."""

    def check(name: str, info: ValidationInfo) -> str:
        known = [*others, *info.context[kind]] if info.context else [name]
        if name not in known:
            raise ValueError(f"names '{name}'; allowed: {', '.join(known)}")
        return name

    return AfterValidator(check)


def _usable(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"'{name}' is no usable name: lower case letters, digits and _ only")
    if is_random(name):
        raise ValueError(f"'{name}' is what random weights are called; choose another name")
    if name == "raw":
        raise ValueError("'raw' is where downloads lie (data/raw); choose another name")
    return name


def _no_item_twice(items: list) -> list:
    """What stands in a list twice would be computed twice, and counted as two."""
    twice = [item for place, item in enumerate(items) if item in items[:place]]
    if twice:
        item = f"[{', '.join(twice[0])}]" if isinstance(twice[0], tuple) else f"'{twice[0]}'"
        raise ValueError(f"holds {item} twice; once is enough")
    return items


def _two(pair: tuple[str, str]) -> tuple[str, str]:
    if pair[0] == pair[1]:
        raise ValueError(f"a pair sets {pair[0]} against itself; name two sources")
    return pair


Means = Annotated[tuple[Annotated[FiniteFloat, Ge(0)], ...], Len(3, 3)]
Deviations = Annotated[tuple[Annotated[FiniteFloat, Gt(0)], ...], Len(3, 3)]
Item = TypeVar("Item")
Each = Annotated[list[Item], AfterValidator(_no_item_twice)]
NewName = Annotated[str, AfterValidator(_usable)]
BackboneName = Annotated[str, _known("backbones")]
SourceName = Annotated[str, _known("sources")]
WeightsName = Annotated[str, _known("weights")]
PretrainedName = Annotated[str, _known("pretrained sources")]
CorpusName = Annotated[str, _known("corpora")]
TaskName = Annotated[str, _known("tasks")]
TrainedName = Annotated[str, _known("trained tasks")]
ComparedName = Annotated[str, _known("compared tasks")]
TrainUsed = Annotated[Train, _known("settings")]
Claimed = Annotated[str, _known("settings", "grid_mean")]
Pair = Annotated[tuple[SourceName, SourceName], AfterValidator(_two)]
AnyPair = Annotated[tuple[str, str], AfterValidator(_two)]


def fault_of(error: ErrorDetails) -> str:
    """What pydantic finds wrong with a value, as users are told: "Input should be less than 1, got 2"."""
    message = (
        error["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list").replace("Tuple", "List")
    )
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "keys and values", message)
    if error["input"] is None:
        return f"{message}, but nothing stands there: fill it in or delete the key"
    if error["type"] == "value_error" or isinstance(error["input"], dict):
        return message
    quotes = error["type"] == "string_type" and isinstance(error["input"], bool | int | float)
    return f"{message}, got {error['input']!r}" + (
        ", which YAML takes for no text: write it in quotes" if quotes else ""
    )
