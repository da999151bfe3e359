"""What computes: language model, embedder, reranker, OCR, and their catalogue."""
