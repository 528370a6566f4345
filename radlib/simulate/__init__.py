"""Simulated images for the demo study, drawn roughly by how images form; they stand for no real patient."""

from radlib.simulate.photographs import simulated_photographs
from radlib.simulate.radiology import n_classes, simulated_radiology
from radlib.simulate.sample import Sample
from radlib.simulate.tasks import simulated_task

__all__ = ["Sample", "n_classes", "simulated_photographs", "simulated_radiology", "simulated_task"]
