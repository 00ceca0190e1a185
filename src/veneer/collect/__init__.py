"""Stage 1: ask the teacher, record its answers."""
