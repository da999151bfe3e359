"""Who waits, in which lane, how many and for how long."""
