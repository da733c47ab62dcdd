"""
Membership, metadata and assignments of a cluster: what its brokers agree on.
"""
