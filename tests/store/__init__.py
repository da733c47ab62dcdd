"""
Tests of the stores.
"""
