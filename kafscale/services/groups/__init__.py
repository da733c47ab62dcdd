"""
APIs of consumer groups.
"""
