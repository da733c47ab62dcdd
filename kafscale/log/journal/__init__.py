"""
The journal, where records become durable: its slots, when they are stored, and
what stops a broker that was replaced.
"""
