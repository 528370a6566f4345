"""Sentences and tables for readers, written from the numbers alone, one module for each notebook."""
