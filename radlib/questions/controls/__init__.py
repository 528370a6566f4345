"""Does the study find what is known to be there, and nothing else? (11_controls)"""
