"""
A metadata store in a SQLite file, for a single broker.
"""
