"""The questions asked of finished runs, one module each; `radlib.compare` is the first of them."""
