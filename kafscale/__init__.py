"""
Kafscale: a Kafka-compatible broker whose log lives in an object store.
"""

__version__ = "0.1.0"
