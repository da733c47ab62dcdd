"""
Logging in: the mechanisms of SASL, and their order on a connection.
"""
