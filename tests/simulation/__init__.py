"""
Whole clusters in one process, driven by one seed.

Brokers, their stores, their clients and everybody's time are simulated; what
goes wrong, and when, follows from the seed alone. See docs/development.md.
"""
