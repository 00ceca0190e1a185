"""Who is measured: endpoints, checkpoints, recordings."""
