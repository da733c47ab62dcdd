"""
Tests of `kafscale.access.authorization`.
"""
