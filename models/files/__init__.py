"""Model files: catalogue, headers, downloads, hashes, adapters and which one is chosen."""
