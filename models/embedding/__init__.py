"""Embedders and rerankers that run here."""
