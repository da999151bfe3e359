"""The models process: its HTTP service, and the models that it swaps."""
