"""
What clients may ask for: one module per family of APIs.

Reading this for the first time? `FindCoordinator` in ``coordination`` is the
shortest; ``produce`` and ``fetch`` are the ones that most others serve.
"""
