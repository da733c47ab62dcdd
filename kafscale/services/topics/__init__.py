"""
APIs that create, grow, delete and describe topics.
"""
