"""What `make` runs. Not installed."""
