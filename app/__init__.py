"""What runs: wiring, command line, web, worker, models process, supervision."""
