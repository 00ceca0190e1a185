"""Stages 4 to 6: answer, grade, judge."""
