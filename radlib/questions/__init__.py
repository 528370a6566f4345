"""One room per question of the study: its table, its computation, its figure and its findings."""
