"""
The coordinator of transactions.
"""
