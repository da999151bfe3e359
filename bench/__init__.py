"""How fast is it: ingestion against raw embedding, queries against the number of chunks."""
