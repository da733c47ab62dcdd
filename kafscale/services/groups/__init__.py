"""
APIs of consumer groups, and of their committed offsets.
"""
