"""Question to answer with citations: condense, retrieve, fuse, context, generate, cite, verify."""
