"""
The metadata store of many brokers: etcd, version 3.4 or later.

etcd is spoken to over its JSON gateway: plain HTTP requests with JSON bodies,
in which bytes are base64 and 64-bit numbers are strings.
"""

from kafscale.store.etcd.client import EtcdClient
from kafscale.store.etcd.store import EtcdMetadataStore

__all__ = ["EtcdClient", "EtcdMetadataStore"]
