"""
APIs that write and read records, and find offsets in the log.
"""
