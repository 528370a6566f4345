"""Has a source seen the test images? (09_confounds)"""
