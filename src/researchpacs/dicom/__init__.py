"""The Standard in Python, without I/O policy: scan, values, geometry, pixels, codes, parsing of structured reports."""
