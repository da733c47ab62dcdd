"""
Retention: moving log starts, trimming journals, and deleting objects that no
log refers to.
"""
