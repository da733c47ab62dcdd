"""
Who reads what together, and how far they have come.

Reading this for the first time? ``group`` is the state machine, drawn in
docs/groups.md; ``coordinator`` has all groups and their commits; ``shard`` is
how both get into the metadata store.
"""
