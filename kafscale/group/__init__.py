"""
Consumer groups: their members, and the offsets that they have committed.

Start with L{kafscale.group.group}, the state machine that docs/groups.md draws.
L{kafscale.group.coordinator} has all groups of this broker and their committed
offsets; L{kafscale.group.shard} writes both to the metadata store.
"""
