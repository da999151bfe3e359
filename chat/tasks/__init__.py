"""Document tasks: summarise, translate, extract a table of fields, compare."""
