"""What is kept: SQL tables and migrations, Chroma, keyword index, original files."""
