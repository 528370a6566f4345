"""What `dvc.yaml` and the Makefile call: choose a study, run its stages and notebooks, keep the record."""
