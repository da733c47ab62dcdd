"""
The settings of the transaction coordinator.
"""

from __future__ import annotations

import attrs

CHECK_SECONDS = 3600.0
"""How often ids that have expired are looked for
(C{transaction.remove.expired.transaction.cleanup.interval.ms})."""


@attrs.frozen
class TransactionSettings:
    """
    Bounds of transactions.

    @ivar max_timeout_ms: The longest time for which a producer may ask that its
        transactions may be open (C{transaction.max.timeout.ms}).
    @ivar expiration_ms: How long an id that is not used is kept
        (C{transactional.id.expiration.ms}).
    """

    max_timeout_ms: int = 900_000
    expiration_ms: int = 7 * 86_400_000
