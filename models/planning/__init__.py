"""What fits this machine and its cards."""
