"""Does pretraining on radiology images beat pretraining on photographs?

The numbered notebooks are the study; this package is what they call. Start with `radlib.study`.
"""
