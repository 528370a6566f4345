"""Backbones and their weights, what is computed from them once, and the heads and decoders on top."""
