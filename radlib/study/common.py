"""What sections share: they forbid unknown keys, and name things alike."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

Name = str
Train = Literal["frozen", "top10", "all"]
Resize = Literal["stretch", "letterbox"]
RANDOM = "random"


def is_random(source: str) -> bool:
    """`random`, or another draw of random weights: `random_2`, `random_3`, ..."""
    return re.fullmatch(rf"{RANDOM}(_\d+)?", source) is not None


class Strict(BaseModel):
    """No unknown keys, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
