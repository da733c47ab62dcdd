"""
Metrics, health checks and the process: what operators see of a broker.
"""
