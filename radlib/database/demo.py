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
FINDINGS = """\
uid,finding,reader,region,adjudicator
1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322,normal,R1,lung,normal
1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322,pulmonary nodule,R2,lung,
1.2.826.0.1.3680043.2.1143.6234428899086018376578420169896863246,normal,R1,brain,
1.2.826.0.1.3680043.2.1143.6234428899086018376578420169896863246,ICH,R2,brain,
1.2.826.0.1.3680043.2.1143.6234428899086018376578420169896863246,normal,R3,brain,
1.2.392.200036.9123.100.11.15002200303521616157144551003340153,intracranial haemorrhage,R1,,
1.2.392.200036.9123.100.11.15002200303521616157144551003340153,ICH,R2,,
1.3.6.1.4.1.5962.1.1.0.0.0.1196530851.28319.0.2,normal,R1,,
1.3.6.1.4.1.5962.1.1.0.0.0.1196530851.28319.0.96,poor quality,R1,,
1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.133,normal,R1,,
1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.133,normal,R2,,
1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.17,brain mass,R1,,
1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.17,normal,R2,,
1.2.826.0.1.3680043.8.498.56065470899706926608807826667383533307,normal,R1,,
1.3.6.1.4.1.5962.1.1.4.1.1.20040826185059.5457,normal,R3,knee,
1.2.826.0.1.3680043.8.498.60462359955763750474035947786807696063,nodule,R3,thyroid,
1.3.6.1.4.1.5962.1.1.0.0.0.1196527414.5534.0.1,normal,R1,,
"""


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
