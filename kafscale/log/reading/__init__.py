"""
Reading segments and volumes through the block cache.
"""
