"""
Tests of `kafscale.net`.
"""
