"""How runs are trained: the grid of runs, its store, the loop, and one kind of run per module."""
