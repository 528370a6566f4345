"""From published files to packed arrays, parts and batches; `radlib.data.prepare` calls most of it."""
