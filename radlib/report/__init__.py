"""What is kept of a study, how it is said in tables, and whether it comes out again."""
