"""
What all rooms need to do several things at once: background tasks, bounds,
time-outs, and timers that many share. Nothing here does I/O; clocks come in
through constructors.
"""
