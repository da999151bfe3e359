"""Numbers, units, dates and names as a text states them."""
