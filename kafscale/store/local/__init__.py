"""
An object store in a directory, and a disk cache for another store.
"""
