"""Question to ranked passages: condense, search, fuse, suppress, judge the evidence."""
