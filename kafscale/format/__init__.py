"""
The layout of everything that is written to the two stores: keys, objects, and
records of the metadata store. No I/O and no clock.
"""
