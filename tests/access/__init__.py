"""
Tests of `kafscale.access`.
"""
