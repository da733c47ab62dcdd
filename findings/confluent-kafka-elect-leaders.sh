#!/usr/bin/env bash
#
# confluent-kafka 2.16.1 (PyPI), Python 3.11.
#
# AdminClient.elect_leaders documents the keyword arguments request_timeout and
# operation_timeout. With either of them it raises SystemError, before anything is
# sent to a broker: the argument parser of the C extension has a format that does
# not fit its list of names. Without them the call begins, and returns a future.
#
# Output seen:
#
#     request_timeout: SystemError more argument specifiers than keyword list entries
#     operation_timeout: SystemError more argument specifiers than keyword list entries
#     neither: Future

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.1

cat >look.py <<'PY'
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient

admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
for name in ("request_timeout", "operation_timeout", None):
    arguments = {} if name is None else {name: 1.0}
    try:
        found = admin.elect_leaders(
            ElectionType.PREFERRED, [TopicPartition("log", 0)], **arguments
        )
        print(f"{name or 'neither'}: {type(found).__name__}")
    except SystemError as error:
        print(f"{name}: SystemError {str(error).partition(' (')[0]}")
PY
venv/bin/python look.py 2>/dev/null | tee seen
diff - seen <<'EXPECTED'
request_timeout: SystemError more argument specifiers than keyword list entries
operation_timeout: SystemError more argument specifiers than keyword list entries
neither: Future
EXPECTED
