"""
The base of tests of L{kafscale.store.s3} with a server that answers as the test says.
"""

from __future__ import annotations

from typing import Any

from botocore.credentials import Credentials as BotocoreCredentials
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from kafscale.errors import StoreError
from kafscale.store.s3 import S3ObjectStore
from kafscale.store.s3.address import Address
from tests.harness import s3
from tests.store.scripted import Script

BEGUN = b"""<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <UploadId>the/id</UploadId></InitiateMultipartUploadResult>"""

DONE = b"""  \r
 <?xml version="1.0" encoding="UTF-8"?>
<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"""


class ScriptedTestCase(TestCase):
    """
    A store on a server with a script. A clock of the test times hedged reads.
    """

    def setUp(self) -> None:
        """
        Start the server, and make a store.
        """
        self.script = Script()
        port = s3.listen(self.script.site())
        self.addCleanup(port.stopListening)
        self.clock = Clock()
        address = Address("bucket", "us-east-1", f"http://127.0.0.1:{port.getHost().port}/bucket")
        self.now = 1_800_000_000.0
        self.keys = [("test", "secret")]
        self.client = s3.client(
            address, now=lambda: self.now, search=self.search, kms_arn="arn:aws:kms:the-key"
        )
        self.store = S3ObjectStore(self.client, self.clock, 1000)
        self.addCleanup(self.store.close)

    def search(self) -> Any:
        """
        Find the next credentials; at the end of the list, the last ones again.
        """
        found = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        return BotocoreCredentials(*found)

    async def failure(self, awaitable: Any) -> StoreError:
        """
        The error that a call raises.
        """
        try:
            answer = await awaitable
        except StoreError as raised:
            return raised
        raise self.failureException(f"no error, but {answer!r}")
