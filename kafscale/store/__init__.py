"""
Implementations of object stores and metadata stores.
"""
