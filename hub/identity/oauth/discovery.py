"""What the authorization server says of itself. Pure."""

from __future__ import annotations

from hub.core.call import Json
from hub.identity.oauth.metadata import AUTH_METHODS, DEVICE, GRANT_TYPES
from hub.identity.oauth.ports import Settings


def metadata(issuer: str, settings: Settings) -> Json:
    """RFC 8414 §2, RFC 8628 §4, and of OpenID Connect Discovery what clients insist on that know nothing else."""
    at = issuer + "/oauth"
    confidential = [method for method in AUTH_METHODS if method != "none"]
    about = {
        "issuer": issuer,
        "authorization_endpoint": f"{at}/authorize",
        "token_endpoint": f"{at}/token",
        "revocation_endpoint": f"{at}/revoke",
        "introspection_endpoint": f"{at}/introspect",
        "jwks_uri": f"{at}/jwks",
        # Clients that are told of nothing else ask for all that stands here; so the rest is asked for by name.
        "scopes_supported": ["mcp"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [grant for grant in GRANT_TYPES if settings.device or grant != DEVICE],
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint_auth_methods_supported": confidential,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    if settings.device:
        about["device_authorization_endpoint"] = f"{at}/device_authorization"
    return about | ({"registration_endpoint": f"{at}/register"} if settings.registration else {})
