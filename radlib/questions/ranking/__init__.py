"""Which source comes first, and how often does it win? (13_beyond_the_mean)"""
