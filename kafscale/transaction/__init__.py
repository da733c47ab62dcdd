"""
The coordinator of transactions (docs/transactions.md).

L{kafscale.transaction.states} decides, from the record of a transactional id and a
request, what becomes of the record and what is answered.
"""
