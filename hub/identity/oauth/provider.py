"""A company's login (OpenID Connect): how it is configured, and why somebody was not logged in by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

SIGNATURES: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
SCOPES: Final = ("openid", "profile", "email")

Kind = Literal["unreachable", "refused", "unfit", "unknown", "disabled", "nothing"]


@dataclass(frozen=True, slots=True)
class Provider:
    issuer: str  # `iss`, byte for byte
    client_id: str  # as which the hub is registered there
    secret: Callable[[], str] = field(repr=False)
    title: str = "Company"  # on the login page
    scopes: tuple[str, ...] = SCOPES
    algorithms: tuple[str, ...] = SIGNATURES
    name_claim: str = "preferred_username"  # from which a new user is named here
    display_claim: str = "name"
    email_claim: str = "email"
    roles_claim: str | None = None
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # roles of the hub, by value of that claim
    default_roles: tuple[str, ...] = ()  # of everybody who logs in there
    groups_claim: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)  # claim, by attribute
    create: bool = True  # whoever is not known here yet becomes a user
    password_login: bool = True  # users with a password may log in beside it


class SsoFailed(Exception):
    """Nobody is logged in. The text is for the log: it names no secret, and quotes nobody's answer.

    "unreachable": the provider does not answer as it should; "refused": it let nobody in; "unfit": its answer is not
    good for this login; "unknown", "disabled", "nothing": it vouched for somebody who is no user, a disabled one, or
    one without any role.
    """

    def __init__(self, kind: Kind, words: str) -> None:
        super().__init__(words)
        self.kind: Final = kind
