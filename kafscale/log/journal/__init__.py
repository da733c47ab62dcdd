"""
Where records become durable: slots, when they are sent, and what stops a broker
that was replaced.
"""
