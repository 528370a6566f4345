"""What sections share: they forbid unknown keys, and name things alike."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails

Name = str
Train = Literal["frozen", "top10", "all"]
Resize = Literal["stretch", "letterbox"]
RANDOM = "random"


def is_random(source: str) -> bool:
    """`random`, or another draw of random weights: `random_2`, `random_3`, ..."""
    return re.fullmatch(rf"{RANDOM}(_\d+)?", source) is not None


def fault_of(error: ErrorDetails) -> str:
    """What pydantic finds wrong with a value, as users are told: "Input should be less than 1, got 2"."""
    given = f", got {error['input']!r}" if not isinstance(error["input"], dict) else ""
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        given += ", which YAML takes for no text: write it in quotes"
    elif error["input"] is None:
        given = ", but nothing stands there: fill it in or delete the key"
    message = (
        error["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list").replace("Tuple", "List")
    )
    return re.sub(r"a valid dictionary( or instance of \w+)?", "keys and values", message) + given


class Strict(BaseModel):
    """No unknown keys, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
