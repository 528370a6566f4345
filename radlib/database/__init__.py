"""From DICOM exams and findings to a database in RadImageNet's layout: phases 1 and 2 of the paper.

    exams.py         headers of a folder of DICOM files: which pictures are there, and whose
    annotations.py   the csv of findings, checked; which picture each of them means
    taxonomy.py      the names of modalities, regions and labels, and windows: taxonomy.yaml, to be edited
    placing.py       modality, region and label of each reading, and which label counts
    agreement.py     several readers of one picture: kappa by region
    build.py         all of this in order, and the folder that 01_data reads
    report.py        what 00_database shows; demo.py: what it shows where there are no exams

What leaves the hospital is pixels, labels and salted hashes; nothing of a header. Messages on the screen
name files and UIDs, because somebody has to find them.
"""

from radlib.database.build import Database, plan_database, write_database
from radlib.database.taxonomy import SHIPPED, read_taxonomy
from radlib.datasets.salt import read_salt

__all__ = ["SHIPPED", "Database", "plan_database", "read_salt", "read_taxonomy", "write_database"]
