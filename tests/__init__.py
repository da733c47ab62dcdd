"""
Tests of Kafscale; the tree of ``kafscale`` again.
"""
