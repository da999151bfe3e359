"""Steps in order; the first four digits of a file's name are its revision."""
