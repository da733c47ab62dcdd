"""
Partitions that other brokers lead, read here (KIP-392).
"""
