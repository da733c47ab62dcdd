"""
The operations that a client may use on a topic, a group and the cluster.

In responses they are a bit field, with a bit for the code of each operation of
Kafka's C{AclOperation}. All are allowed, as there is no authorization.
"""

#: The value if the request did not ask for operations.
NO_OPERATIONS = -(2**31)

TOPIC_OPERATIONS = sum(1 << code for code in (3, 4, 5, 6, 7, 8, 10, 11))
CLUSTER_OPERATIONS = sum(1 << code for code in (5, 7, 8, 9, 10, 11, 12))
GROUP_OPERATIONS = sum(1 << code for code in (3, 6, 8, 10, 11))
