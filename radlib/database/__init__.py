"""From DICOM exams and findings to a database in RadImageNet's layout: phases 1 and 2 of the paper.

    exams.py       headers of a folder of DICOM files: which pictures are there, and whose
    readings.py    the csv of findings: which pictures each means, where they belong, which label counts
    taxonomy.py    the names of modalities, regions and labels, and windows: taxonomy.yaml, to be edited
    build.py       all of this in order, readers' agreement, and the folder that 01_data reads
    show.py        what 00_database shows, also where there are no exams

What leaves the hospital is pixels, labels and salted hashes; nothing of a header. Messages on the screen
name files and UIDs, because somebody has to find them.
"""
