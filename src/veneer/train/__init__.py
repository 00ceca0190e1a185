"""Stage 3: make every student of the ladder."""
