"""Stage 2: clean the answers and cut them into nested token amounts."""
