"""Simulated images for the demo study, drawn roughly by how images form; they stand for no real patient."""

from radlib.simulate.photographs import simulated_photographs
from radlib.simulate.radiology import simulated_radiology, simulated_task
from radlib.simulate.shapes import Sample

GENERATORS = {
    "simulated_radiology": simulated_radiology,
    "simulated_photographs": simulated_photographs,
    "simulated_task": simulated_task,
}
__all__ = ["GENERATORS", "Sample", "simulated_photographs", "simulated_radiology", "simulated_task"]
