"""llama.cpp: loading, the owner thread, slots decoded together, sampling and what they keep."""
