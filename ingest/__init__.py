"""File to searchable chunks: sniff, parse, chunk, embed, store."""
