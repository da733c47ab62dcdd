"""
Rolling: writing records from the journal into segments, and releasing
partitions, which rolls everything first.
"""
