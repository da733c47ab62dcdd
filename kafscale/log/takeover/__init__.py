"""
Takeover: sealing the journals of earlier incarnations, and recovering
partitions from them.
"""
