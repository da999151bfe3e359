"""Alembic scripts: how the tables came to be, one file per step."""
