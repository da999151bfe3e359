"""The models process as others use it."""
