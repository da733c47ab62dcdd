"""
The states of a group.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """
    Where a group is between two generations, as tools are told.
    """

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"
