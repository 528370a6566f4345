"""Processes, Ray clusters, and what a study will cost on them."""
