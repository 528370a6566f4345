"""Arrays in, numbers out: usable by itself, for it imports nothing of the project and raises ValueError."""
