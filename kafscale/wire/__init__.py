"""
The Kafka protocol: bytes to messages and back. No I/O, no clock.
"""
