"""
Kafscale: a Kafka-compatible broker that stores its log in object storage.
"""

__version__ = "0.1.0"
