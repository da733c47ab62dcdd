"""
What concerns the process and those who operate it, not Kafka.
"""
