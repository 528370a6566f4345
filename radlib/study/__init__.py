"""`params.yaml` as types: what a study is made of, whether its names agree, and where its files lie."""

from radlib.study.files import load_study
from radlib.study.study import Run, Study

__all__ = ["Run", "Study", "load_study"]
