"""What can be had without looking at the content? (09_confounds)"""
