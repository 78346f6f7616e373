"""The fitted model of a table, and what is done with it."""
