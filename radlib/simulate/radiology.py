"""The radiology corpus, of four modalities and seven regions, and the eight small applications.

A patient's severity (of tear, bleeding, opacity; or malignancy of a nodule) is drawn from a range; in an
application it depends on the class, and the ranges of its two classes overlap, as diseases do. Healthy
patients may have what mimics the disease.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from radlib.errors import UserError
from radlib.simulate import anatomy, scanners
from radlib.simulate.shapes import Sample, Variation, check_request

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
CUTS = {
    "CT/head": (anatomy.head, partial(scanners.ct, level=40, width=90, noise=4)),
    "CT/lung": (anatomy.chest, partial(scanners.ct, level=-600, width=1500, noise=45)),
    "MR/brain": (anatomy.head, partial(scanners.mr, tr=4000, te=95)),
    "MR/knee": (anatomy.knee, partial(scanners.mr, tr=3000, te=40)),
}
POSITIVE_SHARE = 0.4
# Region; then for each class, negative first: the findings, each as likely, and the range of severity. More
# than two classes are called by their findings.
APPLICATIONS = {
    "thyroid_us": ("US/thyroid", (["nodule"], (0.0, 0.6)), (["nodule"], (0.4, 1.0))),
    "breast_us": ("US/breast", (["nodule"], (0.0, 0.6)), (["nodule"], (0.4, 1.0))),
    "acl_mri": ("MR/knee", (["acl_whole", "acl_tear"], (0, 0.35)), (["acl_tear"], (0.1, 0.8))),
    "meniscus_mri": ("MR/knee", (["normal", "meniscal_tear"], (0, 0.25)), (["meniscal_tear"], (0.15, 0.9))),
    "pneumonia_cxr": ("XR/chest", (["normal", "atelectasis"], (0.2, 1)), (["pneumonia"], (0.3, 1.0))),
    "covid_ct": ("CT/lung", (["normal", "dependent"], (0, 0)), (["viral"], (0.1, 0.8))),
    "sarscov2_ct": ("CT/lung", (["bacterial"], (0.2, 1.0)), (["viral"], (0.2, 0.9))),
    "haemorrhage_ct": ("CT/head", (["normal", "calcification"], (0.3, 1)), (["haemorrhage"], (0.25, 1.0))),
    "knee_mri": ("MR/knee", (["normal"], (0, 0)), (["acl_tear"], (0.3, 1)), (["meniscal_tear"], (0.3, 1))),
}


def draw(
    region: str, size: int, vary: Variation, finding: str, severity: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """A region of REGIONS with a finding: image uint8 (S, S), and the mask of a nodule in ultrasound."""
    if region in CUTS:
        body, scanner = CUTS[region]
        return scanner(body(size, vary, finding, severity)), None
    if region == "XR/chest":
        return anatomy.radiograph(size, vary, finding, severity), None
    phantom = anatomy.breast(size, vary) if region == "US/breast" else anatomy.thyroid(size, vary)
    if finding == "normal":
        return scanners.ultrasound(phantom), None
    share, texture, shadow = anatomy.nodule(phantom, severity)
    return scanners.ultrasound(phantom, texture, shadow), (share > 0.5).astype(np.uint8)


def simulated_radiology(patients: int, slices: int, size: int, seed: int) -> Iterator[Sample]:
    """Yield `patients` x `slices` grey images, uint8 (size, size), no masks; class_name as MR/knee/normal.

    Patients take the classes in turn. The image of a patient depends on seed and patient number only.
    UserError, as of the next function too: a count below 1 or a size below 32 px.
    """
    check_request(size, patients=patients, slices=slices)
    return (_of_corpus(*numbers, size, seed) for numbers in product(range(patients), range(slices)))


def _of_corpus(patient: int, number: int, size: int, seed: int) -> Sample:
    class_name, name = CLASSES[patient % len(CLASSES)], f"radiology-{patient:05d}"
    region, label = class_name.rsplit("/", 1)
    vary = Variation(seed, name, number)
    image, _ = draw(region, size, vary, label, vary.draw(0.35, 1))
    return Sample(image, None, class_name, name, f"{name}-{number:02d}")


def simulated_task(
    application: str, patients: int, slices: int, size: int, seed: int, hospital: str = ""
) -> Iterator[Sample]:
    """Yield `patients` x `slices` grey images, uint8 (size, size), of one application.

    class_name is benign or malignant for thyroid_us and breast_us, which carry a mask of the nodule on every
    image, and negative or positive for the others, which have no masks. floor(0.4 * patients) patients are
    positive, spread evenly; in knee_mri normal, acl_tear and meniscal_tear take turns. All slices of a
    patient share the label. The image of a patient depends on application, seed and patient number only.

    hospital: of other patients: `same` as here, or `older`, whose scanner is (see `scanners.elsewhere`).
    """
    if hospital not in ("", "same", "older"):
        raise UserError(f"simulated images: hospital is '{hospital}'; give same, older, or none")
    if application not in APPLICATIONS:
        raise UserError(f"no simulated application '{application}'; there are: {', '.join(APPLICATIONS)}")
    check_request(size, patients=patients, slices=slices)
    numbers = product(range(patients), range(slices))
    return (_of_task(application, hospital, patient, number, size, seed) for patient, number in numbers)


def _of_task(application: str, hospital: str, patient: int, number: int, size: int, seed: int) -> Sample:
    # Positive where the running count of positives reaches a whole number: exact, known in advance.
    positive = int((patient + 1) * POSITIVE_SHARE + 1e-9) > int(patient * POSITIVE_SHARE + 1e-9)
    region, *classes = APPLICATIONS[application]
    several = len(classes) > 2
    findings, severities = classes[patient % len(classes) if several else positive]
    name = "-".join(filter(None, [application, hospital, f"{patient:05d}"]))
    vary = Variation(seed, name, number)
    severity = vary.draw(*severities)
    finding = vary.choose(findings)
    image, mask = draw(region, size, vary, finding, severity)
    image = scanners.elsewhere(image, vary) if hospital == "older" else image
    labels = ("benign", "malignant") if mask is not None else ("negative", "positive")
    return Sample(image, mask, finding if several else labels[positive], name, f"{name}-{number:02d}")
