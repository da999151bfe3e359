"""Sentences of an answer checked against the passages they cite, and passages against each other."""
