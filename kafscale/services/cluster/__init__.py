"""
APIs about brokers: their addresses, storage and quotas, and which partitions
they lead.
"""
