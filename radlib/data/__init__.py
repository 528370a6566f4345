"""From published files to packed arrays, parts and batches; `radlib.prepare` calls most of it."""
