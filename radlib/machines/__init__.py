"""Processes and Ray clusters that share out the work of a study."""
