"""What quantum links measure and make.

Pure: no clock, no I/O, no keys. Time comes in as an argument and chance from seeded generators, so equal
calls give equal measurements.
"""
