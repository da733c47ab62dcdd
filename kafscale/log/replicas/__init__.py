"""
Replicas: partitions that other brokers lead, for consumers in this broker's rack
(KIP-392).
"""
