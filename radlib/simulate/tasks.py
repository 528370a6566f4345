"""The eight small applications, each with two classes that overlap as diseases do.

A patient's severity (of tear, bleeding, opacity; or malignancy of a nodule) is drawn from a range that
depends on the class, and the ranges overlap. Healthy patients may have what mimics the disease.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from radlib.errors import UserError
from radlib.simulate import head_spine, joints, sonograms, trunk
from radlib.simulate.ct import ct_image
from radlib.simulate.mri import mr_image
from radlib.simulate.radiograph import chest_attenuation, radiograph
from radlib.simulate.sample import Sample, Variation, check_request
from radlib.simulate.shapes import Plane

POSITIVE_SHARE = 0.4
Drawn = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Application:
    """Two classes and how to draw them.

    classes: names, negative first. negative, positive: for each class the findings (each as likely) and the
    range of severity. draw: (size, variation, finding, severity) -> image uint8 (S, S) and mask or None.
    """

    draw: Callable[[int, Variation, str, float], Drawn]
    negative: tuple[list[str], tuple[float, float]]
    positive: tuple[list[str], tuple[float, float]]
    classes: tuple[str, str] = ("negative", "positive")


def _thyroid(size: int, vary: Variation, finding: str, severity: float) -> Drawn:
    return sonograms.thyroid_nodule(size, vary, severity, spread=0.3)


def _breast(size: int, vary: Variation, finding: str, severity: float) -> Drawn:
    return sonograms.breast(size, vary, severity, spread=0.12)


def _knee(anatomy: Callable) -> Callable[[int, Variation, str, float], Drawn]:
    def draw(size: int, vary: Variation, finding: str, severity: float) -> Drawn:
        plane = Plane.square(size).posed(vary, tilt=0.06, shift=0.05, zoom=0.06, warp=0.02)
        close = Plane(plane.x * 0.72, plane.y * 0.72 + 0.06, plane.pixel * 0.72)
        phantom = anatomy(close, vary, finding, severity)
        mottle = 0.04 * vary.field(plane.shape, 0.015 * size)
        return mr_image(phantom, vary, tr=3000, te=32, fat_signal=0.3, extra=mottle), None

    return draw


def _pneumonia(size: int, vary: Variation, finding: str, severity: float) -> Drawn:
    plane = Plane.square(size).posed(vary, tilt=0.05, shift=0.05, zoom=0.07, warp=0.02)
    return radiograph(chest_attenuation(plane, vary, finding, severity), vary), None


def _lung_ct(size: int, vary: Variation, finding: str, severity: float) -> Drawn:
    plane = Plane.square(size).posed(vary)
    return ct_image(trunk.chest(plane, vary, finding, severity), vary, -600, 1500, (20, 70)), None


def _head_ct(size: int, vary: Variation, finding: str, severity: float) -> Drawn:
    plane = Plane.square(size).posed(vary)
    return ct_image(head_spine.brain(plane, vary, finding, severity), vary, 40, 90, (2, 5)), None


NODULES = ("benign", "malignant")
APPLICATIONS = {
    "thyroid_us": Application(_thyroid, (["nodule"], (0.0, 0.6)), (["nodule"], (0.4, 1.0)), NODULES),
    "breast_us": Application(_breast, (["nodule"], (0.0, 0.5)), (["nodule"], (0.5, 1.0)), NODULES),
    "acl_mri": Application(
        _knee(joints.knee_ligaments), (["normal", "acl_tear"], (0, 0.35)), (["acl_tear"], (0.1, 0.7))
    ),
    "meniscus_mri": Application(
        _knee(joints.knee_menisci), (["normal", "meniscal_tear"], (0, 0.25)), (["meniscal_tear"], (0.15, 0.9))
    ),
    "pneumonia_cxr": Application(
        _pneumonia, (["normal", "atelectasis"], (0.2, 1)), (["pneumonia"], (0.3, 1.0))
    ),
    "covid_ct": Application(_lung_ct, (["normal", "dependent"], (0, 0)), (["viral"], (0.1, 0.8))),
    "sarscov2_ct": Application(_lung_ct, (["bacterial"], (0.2, 1.0)), (["viral"], (0.2, 0.9))),
    "haemorrhage_ct": Application(
        _head_ct, (["normal", "calcification"], (0.3, 1)), (["haemorrhage"], (0.25, 1.0))
    ),
}


def simulated_task(application: str, patients: int, slices: int, size: int, seed: int) -> Iterator[Sample]:
    """Yield `patients` x `slices` grey images, uint8 (size, size), of one application.

    class_name is benign or malignant for thyroid_us and breast_us, which carry a mask of the nodule on every
    image, and negative or positive for the others, which have no masks. floor(0.4 * patients) patients are
    positive, spread evenly; all slices of a patient share the label. The image of a patient depends on
    application, seed and patient number only.

    Raises:
        UserError: unknown application, a count below 1, a size below 32 px, or a negative seed.
    """
    if application not in APPLICATIONS:
        raise UserError(f"no simulated application '{application}'; there are: {', '.join(APPLICATIONS)}")
    check_request(size, seed, patients=patients, slices=slices)
    return _images(application, patients, slices, size, seed)


def _is_positive(patient: int) -> bool:
    """Patients at whom the running count of positives reaches a whole number: exact, known in advance."""
    return int((patient + 1) * POSITIVE_SHARE + 1e-9) > int(patient * POSITIVE_SHARE + 1e-9)


def _images(application: str, patients: int, slices: int, size: int, seed: int) -> Iterator[Sample]:
    drawn = APPLICATIONS[application]
    for patient in range(patients):
        positive = _is_positive(patient)
        findings, severities = drawn.positive if positive else drawn.negative
        name = f"{application}-{patient:05d}"
        for number in range(slices):
            vary = Variation(seed, name, number)
            severity = vary.draw(*severities)
            image, mask = drawn.draw(size, vary, vary.choose(findings), severity)
            yield Sample(image, mask, drawn.classes[positive], name, f"{name}-{number:02d}")
