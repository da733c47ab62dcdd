"""
Copying records from the journal into segments, and releasing partitions.
"""
