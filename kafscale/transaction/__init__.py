"""
The coordinator of transactions (docs/transactions.md).

Start with L{kafscale.transaction.states}, which decides, from the record of a
transactional id and a request, what becomes of the record and what is answered.
L{kafscale.transaction.coordinator} has all ids of this broker, and commits what is
decided; L{kafscale.transaction.markers} has the markers of decided transactions written.
"""
