"""
Connections of clients: what comes in as bytes leaves as answers, in order.
"""
