"""Authorization: the hub as a resource server with tokens of its own, and as a client with configured credentials."""

from __future__ import annotations

from typing import Final

from conformance.requirements.row import Requirement, deferred, tested

_AUTH: Final = "2026-07-28 basic/authorization"
_OUTBOUND: Final = "The hub sends the credential of a server's entry and starts no OAuth flow yet."
_INBOUND: Final = "The hub takes local tokens and its own keys; tokens of an identity provider are not taken yet."

ROWS: Final[tuple[Requirement, ...]] = (
    tested(
        "auth.every-request",
        f"{_AUTH}#access-token-usage",
        "Each HTTP request is authorized by its own bearer token; a connection that was let in proves nothing.",
        "tests/e2e/test_contract.py::test_every_other_route_needs_a_bearer_token",
        "tests/e2e/test_contract.py::test_an_open_connection_is_no_identity",
    ),
    tested(
        "auth.not-in-url",
        f"{_AUTH}#access-token-usage",
        "A token in the url is no token.",
        "tests/e2e/test_contract.py::test_a_token_in_the_url_is_no_token",
    ),
    tested(
        "auth.401",
        f"{_AUTH}#error-handling",
        "A missing, wrong, expired or revoked token is 401 with a challenge.",
        "tests/edge/test_http.py::test_a_challenge_names_the_realm_and_the_scope",
        "tests/identity/test_authenticate.py::test_any_doubt_is_nobody",
        "tests/e2e/test_contract_verbs.py::test_expires_30d_is_kept_and_an_expired_key_is_refused",
    ),
    tested(
        "auth.403",
        f"{_AUTH}#scope-challenge-handling",
        "A token without the scope is 403 `insufficient_scope` with the scope that is needed.",
        "tests/edge/test_http.py::test_a_challenge_names_the_realm_and_the_scope",
        "tests/admin/test_crawler.py::test_no_operation_serves_a_caller_without_its_scope",
    ),
    tested(
        "auth.no-passthrough",
        f"{_AUTH}#access-token-privilege-restriction",
        "A client's token never goes downstream.",
        "tests/e2e/test_contract_build.py::test_the_clients_token_and_hop_metadata_never_go_downstream",
    ),
    tested(
        "auth.own-credential-downstream",
        f"{_AUTH}#access-token-privilege-restriction",
        "A server gets the credential of its own entry and of no other, and no other origin gets it.",
        "tests/downstream/test_http_modern.py::"
        "test_request_carries_its_envelope_headers_and_only_the_configured_credential",
        "tests/downstream/test_sse.py::test_endpoint_elsewhere_never_gets_the_credential",
        "tests/journeys/test_secrets.py::test_a_stored_secret_reaches_its_server_alone_and_a_new_value_at_once",
    ),
    tested(
        "auth.refused-downstream",
        f"{_AUTH}#error-handling",
        "A server that refuses the credential is told apart from one that is down.",
        "tests/downstream/test_http_modern.py::test_refused_credential_ends_the_link",
        "tests/e2e/test_contract_servers.py::test_health_tells_down_needs_login_starting_and_disabled_apart",
    ),
    tested(
        "auth.revocation",
        f"{_AUTH}/security-considerations#token-theft",
        "A revoked token is refused at once, and its streams end.",
        "tests/e2e/test_contract_verbs.py::test_a_revoked_key_is_refused_at_once_and_its_streams_end",
    ),
    tested(
        "auth.tokens-kept-safe",
        f"{_AUTH}/security-considerations#token-theft",
        "Keys are stored as hashes; no secret is in any log, database, answer or error.",
        "tests/identity/test_authenticate.py::test_a_stored_hash_opens_nothing",
        "tests/e2e/test_contract_operations.py::test_no_secret_is_in_any_log_database_answer_or_error",
    ),
    tested(
        "auth.stdio",
        _AUTH,
        "On stdio no OAuth is spoken: the bridge is the local user's, by a secret only that user can read.",
        "tests/e2e/test_contract_verbs.py::test_stdio_is_the_local_client_in_the_log",
        "tests/e2e/test_contract.py::test_run_json_holds_pid_url_and_a_secret_and_is_readable_by_its_owner_alone",
    ),
    tested(
        "auth.tls-downstream",
        f"{_AUTH}/security-considerations#communication-security",
        "A server's certificate must be trusted and of its name.",
        "tests/downstream/test_h1_pool.py::test_certificate_of_another_is_refused",
        "tests/downstream/test_h1_pool.py::test_trusted_certificate_of_the_right_name_is_talked_to",
    ),
    deferred(
        "auth.protected-resource-metadata",
        f"{_AUTH}/authorization-server-discovery",
        "The hub publishes RFC 9728 metadata and names it in its challenge.",
        _INBOUND,
    ),
    deferred("auth.audience", f"{_AUTH}#token-handling", "Tokens issued for another resource are refused.", _INBOUND),
    deferred(
        "auth.client.discovery",
        f"{_AUTH}/authorization-server-discovery",
        "A server's authorization server is discovered (RFC 9728, 8414, OIDC) and its issuer checked.",
        _OUTBOUND,
    ),
    deferred(
        "auth.client.registration",
        f"{_AUTH}/client-registration",
        "The hub is known to an authorization server: registered before, by metadata document or dynamically.",
        _OUTBOUND,
    ),
    deferred(
        "auth.client.pkce",
        f"{_AUTH}/security-considerations#authorization-code-protection",
        "PKCE with S256, refused where it is not supported.",
        _OUTBOUND,
    ),
    deferred(
        "auth.client.resource",
        f"{_AUTH}#resource-parameter-implementation",
        "`resource` is sent on authorization and token requests.",
        _OUTBOUND,
    ),
    deferred(
        "auth.client.iss",
        f"{_AUTH}#authorization-response-validation",
        "`iss` of an authorization response is checked (RFC 9207).",
        _OUTBOUND,
    ),
    deferred(
        "auth.client.step-up",
        f"{_AUTH}#step-up-authorization-flow",
        "403 `insufficient_scope` leads to a bounded step-up.",
        _OUTBOUND,
    ),
    deferred(
        "auth.consent",
        f"{_AUTH}/security-considerations#confused-deputy-problem",
        "A user consents for each client before a static client id is used for it.",
        _OUTBOUND,
    ),
)
