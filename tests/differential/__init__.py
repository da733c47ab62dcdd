"""
The same requests to Apache Kafka and to a broker of ours, and their answers compared
field by field.
"""
