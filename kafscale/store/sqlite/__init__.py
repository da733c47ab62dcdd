"""
The metadata store of a broker that is alone, in SQLite.
"""
