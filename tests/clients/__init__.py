"""
Real clients against real brokers: processes of their own, on real ports.
"""
