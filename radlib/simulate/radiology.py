"""The radiology corpus: three modalities, eleven regions, a normal class and a finding in each."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from radlib.simulate import head_spine, joints, sonograms, trunk
from radlib.simulate.ct import ct_image
from radlib.simulate.mri import mr_image
from radlib.simulate.sample import Sample, Variation, check_request
from radlib.simulate.shapes import Plane

Draw = Callable[[int, Variation, str, float], np.ndarray]


def _mr(anatomy: Callable, **sequence: float) -> Draw:
    return partial(_draw_mr, anatomy, sequence)


def _draw_mr(anatomy, sequence, size: int, vary: Variation, finding: str, severity: float) -> np.ndarray:
    plane = Plane.square(size).posed(vary)
    phantom = anatomy(plane, vary, finding, severity)
    mottle = 0.04 * vary.field(plane.shape, 0.015 * size)
    return mr_image(phantom, vary, **sequence, extra=mottle)


def _ct(anatomy: Callable, level: float, width: float, sigma: tuple[float, float]) -> Draw:
    return partial(_draw_ct, anatomy, level, width, sigma)


def _draw_ct(
    anatomy, level, width, sigma, size: int, vary: Variation, finding: str, severity: float
) -> np.ndarray:
    plane = Plane.square(size).posed(vary)
    return ct_image(anatomy(plane, vary, finding, severity), vary, level, width, sigma)


# Region: how it is drawn, and its finding. TR and TE in ms; windows in Hounsfield units.
REGIONS: dict[str, tuple[Draw, str]] = {
    "CT/abdomen": (_ct(trunk.abdomen, 60, 380, (8, 20)), "liver_lesion"),
    "CT/lung": (_ct(trunk.chest, -600, 1500, (20, 70)), "nodule"),
    "MR/abdomen": (_mr(trunk.abdomen, tr=3000, te=80, fat_signal=0.6, white=99.2), "renal_lesion"),
    "MR/ankle_foot": (_mr(joints.ankle_foot, tr=550, te=14), "achilles_tear"),
    "MR/brain": (_mr(head_spine.brain, tr=4000, te=95, white=99), "mass"),
    "MR/hip": (_mr(joints.hip, tr=550, te=14), "osteonecrosis"),
    "MR/knee": (_mr(joints.knee_menisci, tr=3000, te=32, fat_signal=0.3), "meniscal_tear"),
    "MR/shoulder": (_mr(joints.shoulder, tr=3000, te=40, fat_signal=0.25), "rotator_cuff_tear"),
    "MR/spine": (_mr(head_spine.spine, tr=3500, te=105, white=98.5), "disc_herniation"),
    "US/abdomen": (sonograms.abdomen, "gallstone"),
    "US/thyroid": (sonograms.thyroid_survey, "nodule"),
}
CLASSES = [f"{region}/{label}" for region, (_, finding) in REGIONS.items() for label in (finding, "normal")]


def n_classes() -> int:
    """Number of classes of the radiology corpus; the corpus of photographs has as many."""
    return len(CLASSES)


def simulated_radiology(patients: int, slices: int, size: int, seed: int) -> Iterator[Sample]:
    """Yield `patients` x `slices` grey images, uint8 (size, size), no masks; class_name as MR/knee/normal.

    Patients take the classes in turn, so every class has as many as the next, give or take one. A patient
    has one region and one label. The image of a patient depends on seed and patient number only.

    Raises:
        UserError: a count below 1, a size below 32 px, or a negative seed.
    """
    check_request(size, seed, patients=patients, slices=slices)
    return _images(patients, slices, size, seed)


def _images(patients: int, slices: int, size: int, seed: int) -> Iterator[Sample]:
    for patient in range(patients):
        class_name = CLASSES[patient % len(CLASSES)]
        region, label = class_name.rsplit("/", 1)
        name = f"radiology-{patient:05d}"
        for number in range(slices):
            vary = Variation(seed, name, number)
            image = REGIONS[region][0](size, vary, label, vary.draw(0.35, 1))
            yield Sample(image, None, class_name, name, f"{name}-{number:02d}")
