"""
One partition on its leader: offsets, the tail in memory, producers' states, and
the commits on its record.
"""
