"""
A partition on its leader: its offsets, the tail in memory, the states of
producers, and the commits on its record.
"""
