"""Does pretraining on radiology images beat pretraining on photographs?

The numbered notebooks are the study; this package is what they call. Start with `radlib.study`.
"""

import os

# OpenMP's threads wait for one another in a busy loop by default, which all but stops training on a machine
# that something else uses too; asleep while they wait, they share. Read when PyTorch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
