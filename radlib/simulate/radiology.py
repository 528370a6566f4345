"""The radiology corpus: four modalities, seven regions, a normal class and findings in each."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from radlib.simulate import anatomy, scanners
from radlib.simulate.sample import Sample, Variation, check_request

REGIONS = {
    "CT/head": ("haemorrhage", "mass"),
    "CT/lung": ("bacterial", "nodule"),
    "MR/brain": ("mass",),
    "MR/knee": ("acl_tear", "meniscal_tear"),
    "US/breast": ("nodule",),
    "US/thyroid": ("nodule",),
    "XR/chest": ("atelectasis", "pneumonia"),
}
CLASSES = [f"{region}/{label}" for region, findings in REGIONS.items() for label in (*findings, "normal")]


def draw(
    region: str, size: int, vary: Variation, finding: str, severity: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """A region of REGIONS with a finding: image uint8 (S, S), and the mask of a nodule in ultrasound."""
    patient = size, vary, finding, severity
    if region == "CT/head":
        return scanners.ct(anatomy.head(*patient), level=40, width=90, noise=4), None
    if region == "CT/lung":
        return scanners.ct(anatomy.chest(*patient), level=-600, width=1500, noise=45), None
    if region == "MR/brain":
        return scanners.mr(anatomy.head(*patient), tr=4000, te=95), None
    if region == "MR/knee":
        return scanners.mr(anatomy.knee(*patient), tr=3000, te=40), None
    if region == "XR/chest":
        return anatomy.radiograph(*patient), None
    phantom = anatomy.breast(size, vary) if region == "US/breast" else anatomy.thyroid(size, vary)
    if finding == "normal":
        return scanners.ultrasound(phantom), None
    share, texture, shadow = anatomy.nodule(phantom, severity)
    return scanners.ultrasound(phantom, texture, shadow), (share > 0.5).astype(np.uint8)


def n_classes() -> int:
    """Number of classes of the radiology corpus; the corpus of photographs has as many."""
    return len(CLASSES)


def simulated_radiology(patients: int, slices: int, size: int, seed: int) -> Iterator[Sample]:
    """Yield `patients` x `slices` grey images, uint8 (size, size), no masks; class_name as MR/knee/normal.

    Patients take the classes in turn. The image of a patient depends on seed and patient number only.

    Raises:
        UserError: a count below 1, a size below 32 px, or a negative seed.
    """
    check_request(size, seed, patients=patients, slices=slices)
    return (_image(*numbers, size, seed) for numbers in product(range(patients), range(slices)))


def _image(patient: int, number: int, size: int, seed: int) -> Sample:
    class_name, name = CLASSES[patient % len(CLASSES)], f"radiology-{patient:05d}"
    region, label = class_name.rsplit("/", 1)
    vary = Variation(seed, name, number)
    image, _ = draw(region, size, vary, label, vary.draw(0.35, 1))
    return Sample(image, None, class_name, name, f"{name}-{number:02d}")
