"""Stage 9: one page, its figures and its data."""
