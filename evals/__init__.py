"""Is it any good: question sets, metrics, runners, reports."""
