"""
Where bytes and facts are kept: object stores and metadata stores.
"""
