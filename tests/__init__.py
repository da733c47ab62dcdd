"""
Tests of Kafscale; the tree of ``kafscale`` again.
"""

import sys

if "twisted.trial.runner" in sys.modules or "pytest" in sys.modules:
    from hypothesis import HealthCheck, settings

    # A test fails for what the code does, and not for how busy the machine is.
    settings.register_profile(
        "kafscale", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("kafscale")
