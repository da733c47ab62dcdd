"""
APIs that describe the cluster, and those that operators' tools look for.
"""
