"""
The mechanisms, and their order on a connection.
"""
