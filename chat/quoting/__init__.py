"""Answers made of the documents' own sentences, rows and lists."""
