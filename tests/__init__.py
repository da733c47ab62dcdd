"""
Tests of Kafscale; the tree of ``kafscale`` again.
"""

import os
import sys

from kafscale.wire.record_walk import NotBuilt, choose

# As a broker chooses: so tests run with what they are told to.
try:
    choose(os.environ.get("KAFSCALE_COMPILED", "auto"))
except NotBuilt as error:
    sys.exit(f"KAFSCALE_COMPILED=require: {error}")

if "twisted.trial.runner" in sys.modules or "pytest" in sys.modules:
    from hypothesis import HealthCheck, settings

    # A test fails for what the code does, and not for how busy the machine is.
    settings.register_profile(
        "kafscale", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("kafscale")
