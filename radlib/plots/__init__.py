"""Figures, one module for each notebook that has any; `common` is what they share."""
