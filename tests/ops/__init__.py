"""
Tests of `kafscale.ops`.
"""
