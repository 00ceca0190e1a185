"""Stage 8: gap, support, preference, leverage, claims."""
