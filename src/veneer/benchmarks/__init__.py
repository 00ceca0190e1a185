"""By what they are measured."""
