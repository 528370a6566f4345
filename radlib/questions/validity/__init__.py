"""Do the intervals cover the true value as often as they say? (09_validity)"""
