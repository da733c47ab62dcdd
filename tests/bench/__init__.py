"""
How fast, and at what cost: the broker beside the floor, in one run.

    python -m tests.bench --help
"""
