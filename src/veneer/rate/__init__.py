"""Stage 7: people compare completions blind."""
