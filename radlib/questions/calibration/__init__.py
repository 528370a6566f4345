"""Do the scores mean what they say? (13_beyond_the_mean)"""
