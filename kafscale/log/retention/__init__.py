"""
Moving log starts, trimming the journal, and deleting what no log needs.
"""
