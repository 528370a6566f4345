"""What 00_database shows where there are no exams of one's own: DICOM files that come with pydicom.

The pictures are real, and small; the findings, readers and some of the regions are made up.
"""

import secrets
import shutil
from pathlib import Path

from pydicom.data import get_testdata_file

_FILES = [
    "CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "MR_small.dcm", "examples_overlay.dcm",
    "examples_rgb_color.dcm", "dicomdirtests/77654033", "dicomdirtests/98892003", "reportsi.dcm",
    "README.txt",
]  # fmt: skip
FINDINGS = Path(__file__).with_name("demo.csv")


def copy_files(folder: Path) -> tuple[Path, Path]:
    """Copy the files below `folder`, and make a salt that lasts as long as the folder: (exams, salt file)."""
    shipped = Path(get_testdata_file(_FILES[0], download=False)).parent
    exams = folder / "exams"
    for name in _FILES:
        (exams / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (shipped / name).is_dir() else shutil.copyfile
        copy(shipped / name, exams / name)
    salt = folder / "salt.txt"
    salt.write_text(secrets.token_hex(32))
    return exams, salt
