"""
The metadata store of a cluster: etcd, version 3.4 or later.

The requests go to etcd's JSON gateway: HTTP requests with JSON bodies, in which
bytes are base64 and 64-bit integers are strings
(https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/). So no gRPC library is
needed.
"""

from kafscale.store.etcd.client import EtcdClient
from kafscale.store.etcd.store import EtcdMetadataStore

__all__ = ["EtcdClient", "EtcdMetadataStore"]
