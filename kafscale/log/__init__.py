"""
The log: what makes a record durable, keeps it, and finds it again.
"""
