"""What of a difference comes from preprocessing and metric? (09_confounds)"""
