"""One adapter per method; every adapter of a task has the same signature and gives the same record."""
