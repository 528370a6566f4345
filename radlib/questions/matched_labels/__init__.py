"""Is it what images show, or how finely they are labelled? (12_matched_labels)"""
