"""Modality, region, label and window of a picture: `taxonomy.yaml`, read and checked, and looked up in."""

import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, StringConstraints, ValidationError, model_validator

from radlib.datasets.grey import ToBytes, own_range, windowed
from radlib.errors import UserError, listed
from radlib.study.common import Strict, fault_of
from radlib.study.files import read_params

SHIPPED = Path(__file__).parent / "taxonomy.yaml"
Code = Literal["CT", "MR", "US"]
Folder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Percentiles(Strict):
    """Of each picture: MR signal has no unit, so every picture is its own measure."""

    percentiles: tuple[float, float] = Field(description="shown as 0 and 255; 0 <= low < high <= 100")


Window = tuple[float, float] | Percentiles | Literal["stored"]


class Region(Strict):
    """One anatomic region of a modality; see the head of taxonomy.yaml."""

    published_labels: int = Field(0, ge=0)
    words: list[str] = Field(default_factory=list)
    window: Window | None = None
    labels: dict[Folder, list[str]] = Field(min_length=1)


class Modality(Strict):
    window: Window | None = None
    regions: dict[Folder, Region] = Field(min_length=1)


class Taxonomy(Strict):
    """Modalities, regions and labels, and the findings that stand for each label."""

    modalities: dict[Code, Modality] = Field(min_length=1)
    no_label: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_meaning(self) -> "Taxonomy":
        for code, name in self.regions:
            window = self.window_of(code, name)
            if window is None:
                raise ValueError(f"{code}/{name} has no window, nor has {code}")
            low, high = window.percentiles if isinstance(window, Percentiles) else (0, 100)
            if not 0 <= low < high <= 100:
                raise ValueError(
                    f"{code}/{name} has the percentiles {low:g} and {high:g}; give two from 0 to 100, the "
                    "lower one first"
                )
        self._labels  # noqa: B018 (a finding of two labels is an error now, not at its first use)
        ultrasound = [region.labels for (code, _), region in self.regions.items() if code == "US"]
        held = Counter(label for labels in ultrasound for label in labels)
        shared = sorted(label for label, regions in held.items() if regions > 1)
        if shared:
            raise ValueError(
                f"US has the label {listed(shared)} in two regions; their folder has no region, so rename one"
            )
        return self

    @cached_property
    def regions(self) -> dict[tuple[str, str], Region]:
        """(modality, name) -> region."""
        return {
            (code, name): region
            for code, modality in self.modalities.items()
            for name, region in modality.regions.items()
        }

    @cached_property
    def _labels(self) -> dict[tuple[str, str], dict[str, str]]:
        """(modality, region) -> finding -> label, "" for the findings of no_label."""
        meanings: dict[tuple[str, str], dict[str, str]] = {}
        for (code, name), region in self.regions.items():
            meaning = meanings[code, name] = {_plain(finding): "" for finding in self.no_label}
            named = [(_plain(one), label) for label, more in region.labels.items() for one in (label, *more)]
            for finding, label in named:
                first = meaning.setdefault(finding, label)
                if first != label:
                    raise ValueError(
                        f"{code}/{name}: the finding '{finding}' means {first or 'no label'} and {label}; "
                        "keep one"
                    )
        return meanings

    def label_of(self, modality: str, region: str, finding: str) -> str | None:
        """The label that a finding stands for there: "" for one of no_label or none, None where unknown."""
        return self._labels[modality, region].get(_plain(finding)) if finding else ""

    def region_of(self, modality: str, texts: tuple[str, ...]) -> str | None:
        """The region in the first of the header's texts that names exactly one; None where none does."""
        regions = self.modalities[modality].regions
        for text in filter(None, map(_words, texts)):
            said = f" {text} "
            named = [n for n in regions if any(f" {_words(word)} " in said for word in regions[n].words)]
            if len(named) == 1:
                return named[0]
        return None

    def window_of(self, modality: str, region: str) -> Window:
        return self.regions[modality, region].window or self.modalities[modality].window


def to_bytes(window: Window) -> ToBytes:
    """What turns values in modality units into uint8 by a window of the taxonomy (see taxonomy.yaml).

    A window of two numbers is DICOM's LINEAR function whatever the header asks for, so that pictures of one
    class are shown alike.
    """

    def show(values: np.ndarray, name: str) -> np.ndarray:
        if isinstance(window, Percentiles):
            return own_range(values, *np.percentile(values, window.percentiles))
        if isinstance(window, tuple):
            return windowed(values, window, "LINEAR", name)
        if values.min() < 0 or values.max() > 255:
            raise UserError(
                f"{name} has values from {values.min():g} to {values.max():g}, which do not fit into 8 bits "
                "as they are; give the taxonomy a window for its modality"
            )
        return np.rint(values).astype(np.uint8)

    return show


def read_taxonomy(path: Path = SHIPPED) -> Taxonomy:
    """A taxonomy file; what is wrong with it is refused by a UserError that names the key."""
    if not path.is_file():
        raise UserError(f"taxonomy {path} cannot be read (no such file); start from a copy of {SHIPPED}")
    try:
        return Taxonomy.model_validate(read_params(path))
    except ValidationError as exc:
        error = exc.errors()[0]
        key = ".".join(map(str, error["loc"]))
        raise UserError(
            f"{path.name}: {f'{key}: ' if key else ''}{fault_of(error)}; compare it with {SHIPPED}"
        ) from exc


def _plain(finding: str) -> str:
    return " ".join(finding.casefold().split())


def _words(text: str) -> str:
    """Capital words, whatever stood between them: `abdomen^liver` is ABDOMEN LIVER."""
    return " ".join(re.findall(r"[^\W_]+", text.upper()))
