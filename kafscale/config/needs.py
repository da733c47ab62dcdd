"""
What settings need in order to have an effect.

A setting that has none is refused at the start: whoever sets a certificate, an
administrator or a token believes that the broker is protected by it. What a setting
needs stands with its declaration; L{kafscale.config.agreement} knows whether it is
there.
"""

from __future__ import annotations

from enum import Enum


class Need(Enum):
    """
    Something that settings need, in words that follow "without".
    """

    LISTENERS = "KAFSCALE_LISTENERS"
    TLS = "a listener whose protocol is SSL or SASL_SSL"
    TLS_1_2 = "a listener with TLSv1.2 among its KAFSCALE_SSL_ENABLED_PROTOCOLS"
    CERTIFIED_CLIENTS = (
        "a listener whose protocol is SSL and that asks clients for certificates"
        " (KAFSCALE_SSL_CLIENT_AUTH)"
    )
    SASL = "a listener whose protocol is SASL_SSL or SASL_PLAINTEXT"
    PASSWORDS = "a listener with SCRAM or PLAIN among its KAFSCALE_SASL_ENABLED_MECHANISMS"
    SCRAM = "a listener with SCRAM among its KAFSCALE_SASL_ENABLED_MECHANISMS"
    DELEGATION_TOKENS = "KAFSCALE_DELEGATION_TOKEN_SECRET_KEY"
    TOKENS = "a listener with OAUTHBEARER among its KAFSCALE_SASL_ENABLED_MECHANISMS"
    KEYS_BY_HTTPS = "https:// in KAFSCALE_SASL_OAUTHBEARER_JWKS_ENDPOINT_URL"
    SASL_BETWEEN_BROKERS = (
        "the protocol SASL_SSL or SASL_PLAINTEXT on the listener between brokers"
        " (KAFSCALE_INTER_BROKER_LISTENER_NAME)"
    )
    AUTHORIZER = "KAFSCALE_AUTHORIZER=acl"
    BUCKET = "KAFSCALE_S3_BUCKET"
    S3_BY_HTTPS = "https:// in KAFSCALE_S3_ENDPOINT"
    ETCD = "KAFSCALE_ETCD_ENDPOINTS"
    ETCD_BY_HTTPS = "https:// in all KAFSCALE_ETCD_ENDPOINTS"
    HTTP = "the HTTP server, which KAFSCALE_METRICS_ADDR=off disables"
    HTTPS = "KAFSCALE_METRICS_SSL_CERT"
