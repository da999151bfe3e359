"""Words every layer shares: domain types, errors, settings, logging, text."""
