"""
An issuer of tokens, with keys of its own.
"""

from __future__ import annotations

import json
from typing import Any

from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

RSA = RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS256", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed", "alg": "EdDSA"})
OCT = OctKey.generate_key(256, {"kid": "oct", "alg": "HS256"})

ISSUER = "https://issuer.example"
AUDIENCE = "kafka"


def jwks(*keys: Any, **changes: Any) -> bytes:
    """
    A JWKS with the public parts of keys.

    @param changes: Fields of all keys; None removes one.
    """
    listed = []
    for key in keys:
        fields = {**key.as_dict(private=key is OCT), **changes}
        listed.append({name: value for name, value in fields.items() if value is not None})
    return json.dumps({"keys": listed}).encode()


def token(key: Any, now: float, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """
    A token for C{carol} that lasts a minute.

    @param header: Fields in place of those that follow from the key.
    @param changes: Claims in place of the good ones; None removes one.
    """
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "carol", "exp": now + 60, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    fields = {"kid": key.kid, "alg": key.get("alg"), **(header or {})}
    fields = {name: value for name, value in fields.items() if value is not None}
    algorithms = [fields["alg"]]
    if fields["alg"] == "none":
        return jws.serialize_compact(fields, json.dumps(claims), OCT, algorithms=["none"])
    bare = type(key).import_key({**key.as_dict(private=True), "alg": fields["alg"]})
    return jwt.encode(fields, claims, bare, algorithms=algorithms)
