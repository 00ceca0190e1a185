"""Tells whether a model trained on another model's outputs got better or only sounds better."""
