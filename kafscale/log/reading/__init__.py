"""
Reading segments, through a cache of blocks.
"""
