"""
Tests of ``kafscale.group``.
"""
