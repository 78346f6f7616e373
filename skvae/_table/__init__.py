"""Tables: frames in, standardised numbers out, and back. NumPy and pandas only."""
