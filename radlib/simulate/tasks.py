"""The eight small applications, each with two classes that overlap as diseases do.

A patient's severity (of tear, bleeding, opacity; or malignancy of a nodule) is drawn from a range that
depends on the class, and the ranges overlap. Healthy patients may have what mimics the disease.
"""

from collections.abc import Iterator
from itertools import product

from radlib.errors import UserError
from radlib.simulate.radiology import draw
from radlib.simulate.sample import Sample, Variation, check_request

POSITIVE_SHARE = 0.4
# Region; then for either class, negative first: the findings, each as likely, and the range of severity.
APPLICATIONS = {
    "thyroid_us": ("US/thyroid", (["nodule"], (0.0, 0.6)), (["nodule"], (0.4, 1.0))),
    "breast_us": ("US/breast", (["nodule"], (0.0, 0.6)), (["nodule"], (0.4, 1.0))),
    "acl_mri": ("MR/knee", (["acl_whole", "acl_tear"], (0, 0.35)), (["acl_tear"], (0.1, 0.8))),
    "meniscus_mri": ("MR/knee", (["normal", "meniscal_tear"], (0, 0.25)), (["meniscal_tear"], (0.15, 0.9))),
    "pneumonia_cxr": ("XR/chest", (["normal", "atelectasis"], (0.2, 1)), (["pneumonia"], (0.3, 1.0))),
    "covid_ct": ("CT/lung", (["normal", "dependent"], (0, 0)), (["viral"], (0.1, 0.8))),
    "sarscov2_ct": ("CT/lung", (["bacterial"], (0.2, 1.0)), (["viral"], (0.2, 0.9))),
    "haemorrhage_ct": ("CT/head", (["normal", "calcification"], (0.3, 1)), (["haemorrhage"], (0.25, 1.0))),
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
    numbers = product(range(patients), range(slices))
    return (_sample(application, patient, number, size, seed) for patient, number in numbers)


def _sample(application: str, patient: int, number: int, size: int, seed: int) -> Sample:
    # Positive where the running count of positives reaches a whole number: exact, known in advance.
    positive = int((patient + 1) * POSITIVE_SHARE + 1e-9) > int(patient * POSITIVE_SHARE + 1e-9)
    region, *classes = APPLICATIONS[application]
    findings, severities = classes[positive]
    name = f"{application}-{patient:05d}"
    vary = Variation(seed, name, number)
    severity = vary.draw(*severities)
    image, mask = draw(region, size, vary, vary.choose(findings), severity)
    labels = ("benign", "malignant") if mask is not None else ("negative", "positive")
    return Sample(image, mask, labels[positive], name, f"{name}-{number:02d}")
