"""Issuers from outside: who may vouch for callers, and what the hub makes of their claims.

Owns the rules that hold for every token of such an issuer, signed or introspected: for whom it is, how long it is good,
who its subject is here. Where the claims come from is the business of `outside` and `introspection`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeGuard

from hub.core.accounts import UserRow
from hub.core.call import Json, Principal
from hub.core.errors import HubError
from hub.core.names import SERVER_ID
from hub.identity.keys import TENANT
from hub.identity.oauth.resources import Resources
from hub.identity.roles import Roles, principal_of
from hub.identity.verified import Verified

# Signatures by a key that the hub cannot make itself: no HS* (the secret would have to be told), never `none`.
ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {  # key type and curve, by name
    **{name: ("RSA", None) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
DEFAULT_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
LEEWAY_S: Final = 60.0
LONGEST_S: Final = 86_400.0  # of a signed token: nobody can take it back
MAX_NAME: Final = 255
MAX_LIST: Final = 500  # scopes, groups or roles in one token; a token that lists more is refused, not cut
_ADMIN: Final = frozenset({"admin", "audit:read"})
# What only ID, refresh and logout tokens say of themselves (OIDC Core §3.3.2.11, Back-Channel Logout §2.4, and the
# marks of Keycloak and Cognito): they too are signed by the issuer, and are no access tokens.
_FOREIGN: Final = ("at_hash", "c_hash", "s_hash", "events")
_FOREIGN_KINDS: Final = {"typ": ("id", "refresh", "offline", "logout"), "token_use": ("id",)}


class Unanswered(HubError):
    """An issuer could not be asked, or gave no answer that can be used: names it and says what happened."""


@dataclass(frozen=True, slots=True)
class Introspecting:
    """How an issuer is asked about its tokens (RFC 7662)."""

    client_id: str  # as which the hub asks
    secret: Callable[[], str] = field(repr=False)
    url: str | None = None  # None: as its metadata says
    opaque: bool = True  # whether tokens that name no issuer are its own


@dataclass(frozen=True, slots=True)
class Issuer:
    """One authorization server whose tokens the hub takes, as configured."""

    name: str  # stands in the names of its people: user:NAME:PERSON
    issuer: str  # `iss`, byte for byte
    audiences: tuple[str, ...] = ()  # that mean the whole hub, beside the addresses of its endpoints
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    jwks_uri: str | None = None  # None: as its metadata says
    typ: tuple[str, ...] = ("at+jwt", "jwt")  # RFC 9068 tokens, and those of issuers that are older than it
    name_claim: str = "sub"
    roles_claim: str | None = None
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # roles of the hub, by value of that claim
    default_roles: tuple[str, ...] = ()  # of every subject
    groups_claim: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)  # claim, by attribute
    scope_prefix: str = ""  # what stands before the hub's scopes in theirs
    scopes: Mapping[str, str] = field(
        default_factory=dict
    )  # scope of the hub, by theirs; without a prefix the only ones
    default_scopes: tuple[str, ...] = ()  # of tokens that say nothing of scopes
    introspecting: Introspecting | None = None  # None: its tokens are signed

    def __post_init__(self) -> None:
        """Raises ValueError, in words."""
        where = f"the issuer {self.name[:64]!r}"
        if SERVER_ID.fullmatch(self.name) is None:
            raise ValueError(f"{where}: a name starts with a letter, has letters, digits and '-', at most 24 in all")
        if not self.issuer.startswith(("https://", "http://")) or not is_name(self.issuer, 2048):
            raise ValueError(f"{where}: `issuer` is the https address that its tokens bear as `iss`")
        unfit = [name for name in self.algorithms if name not in ALGORITHMS]
        if unfit or not self.algorithms:
            raise ValueError(f"{where}: `algorithms` are some of {', '.join(ALGORITHMS)}; {unfit} cannot be taken")


class Claimants:
    """From the claims of one issuer's token, whoever checked them, to the principal it stands for."""

    def __init__(
        self,
        issuer: Issuer,
        resources: Resources,
        roles: Roles,
        users: Callable[[str, str], UserRow | None] = lambda issuer, subject: None,
    ) -> None:
        """`users` finds the user of ours whom the issuer knows by this subject, disabled ones too."""
        self._issuer, self._resources, self._roles, self._users = issuer, resources, roles, users

    def read(self, claims: Json, now: float, *, signed: bool) -> Verified | None:
        """None: not a good access token for this hub, in any way.

        What was signed once has to end within a day; what is asked for each time may last.
        """
        expires_at = _end(claims, now, signed)
        subject = claims.get("sub")
        if expires_at is None or not _is_access_token(claims) or not is_name(subject):
            return None
        if claims.get("iss", None if signed else self._issuer.issuer) != self._issuer.issuer:
            return None
        reach = self._reach(claims.get("aud"))
        if reach is None:
            return None
        principal = self._principal(claims, subject, reach)
        if principal is None:
            return None
        jti = claims.get("jti")
        return Verified(
            principal=principal,
            expires_at=expires_at,
            issuer=self._issuer.issuer,
            subject=subject,
            client=principal.client,
            jti=jti if is_name(jti) else None,
        )

    def _reach(self, aud: Any) -> tuple[frozenset[str] | None, bool] | None:
        """(endpoints the token is for, whether it is for the admin API); None: for nothing of ours (RFC 8707 §3)."""
        named = [aud] if isinstance(aud, str) else aud
        if not isinstance(named, list) or len(named) > MAX_LIST or not all(isinstance(one, str) for one in named):
            return None
        if any(one in self._issuer.audiences for one in named):
            return None, True
        endpoints = frozenset(name for one in named if (name := self._resources.endpoint_of(one)) is not None)
        admin = any(self._resources.is_admin(one) for one in named)
        return (endpoints, admin) if endpoints or admin else None

    def _principal(self, claims: Json, subject: str, reach: tuple[frozenset[str] | None, bool]) -> Principal | None:
        issuer, (endpoints, admin) = self._issuer, reach
        scopes, groups = self._scopes(claims), texts_at(claims, issuer.groups_claim)
        given = texts_at(claims, issuer.roles_claim)
        if scopes is None or groups is None or given is None:
            return None
        # a token for one of the hub's addresses is good for nothing at the others
        scopes = frozenset(one for one in scopes if (admin if one in _ADMIN else endpoints is None or endpoints))
        client = next((claims[name] for name in ("client_id", "azp", "appid") if is_name(claims.get(name))), None)
        known = self._users(issuer.issuer, subject)
        if known is not None and known.disabled_at is not None:
            return None
        row = known or self._stranger(claims, subject, given, groups)
        return principal_of(
            row,
            self._roles,
            scopes=scopes,
            client=client,
            credential=_credential(issuer.name, (issuer.issuer, subject, client or ""), scopes, endpoints),
            strength="sso",
            endpoints=endpoints,
        )

    def _stranger(self, claims: Json, subject: str, given: Collection[str], groups: Collection[str]) -> UserRow:
        """A subject that is no user of ours, as a row that nobody stores."""
        issuer = self._issuer
        name = claim_at(claims, issuer.name_claim)
        named = name if is_name(name, 128) else subject
        roles = {role for value in given for role in issuer.roles.get(value, ())} | set(issuer.default_roles)
        found = {attribute: claim_at(claims, claim) for attribute, claim in issuer.attributes.items()}
        return UserRow(
            tenant=TENANT,
            id="",
            name=f"{issuer.name}:{named}",
            roles=tuple(sorted(roles)),
            groups=tuple(sorted(groups)),
            created_at=0.0,
            issuer=issuer.issuer,
            subject=subject,
            attributes={name: value for name, value in found.items() if _is_attribute(value)},
        )

    def _scopes(self, claims: Json) -> frozenset[str] | None:
        given = claims.get("scope", claims.get("scp"))
        if given is None:
            return frozenset(self._issuer.default_scopes)
        listed = given.split() if isinstance(given, str) else given
        if not _is_list(listed):
            return None
        prefix, ours = self._issuer.scope_prefix, self._issuer.scopes
        named = {ours[one] for one in listed if one in ours}
        if ours and not prefix:
            return frozenset(named)
        return frozenset(named | {one[len(prefix) :] for one in listed if one.startswith(prefix) and one not in ours})


def _end(claims: Json, now: float, signed: bool) -> float | None:
    """Until when the token is taken, its times judged with leeway (RFC 7519 §4.1.4-6); None: not now."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if any(type(at) not in (int, float) or not -1e15 < at < 1e15 for at in times.values()):
        return None
    if any(times[name] > now + LEEWAY_S for name in ("nbf", "iat") if name in times):
        return None
    if "exp" not in times:
        return None if signed else now + LONGEST_S
    end = float(times["exp"]) + LEEWAY_S
    return end if now < end and not (signed and end > now + LONGEST_S + LEEWAY_S) else None


def _is_access_token(claims: Json) -> bool:
    """A token that is bound to a key (`cnf`) is none here: the hub asks for no proof, and would take a stolen one."""
    if "cnf" in claims or any(name in claims for name in _FOREIGN):
        return False
    kinds = ((claims.get(name), foreign) for name, foreign in _FOREIGN_KINDS.items())
    return not any(isinstance(kind, str) and kind.lower() in foreign for kind, foreign in kinds)


def _credential(name: str, of: tuple[str, ...], scopes: frozenset[str], endpoints: frozenset[str] | None) -> str:
    """One for all tokens that say the same, so that a renewed token goes on where the last one ended."""
    parts = (*of, *sorted(scopes), "at", *(("*",) if endpoints is None else sorted(endpoints)))
    return f"issuer:{name}:{sha256(repr(parts).encode()).hexdigest()[:32]}"


def claim_at(claims: Json, path: str) -> Any:
    """The claim of that very name, or the one inside others that the dots lead to ("realm_access.roles")."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def texts_at(claims: Json, path: str | None) -> frozenset[str] | None:
    """The values of a claim; none without it. None: it is there and cannot be read, or stands elsewhere.

    What is left out of a list of groups may be the one that a rule forbids: such a token is refused.
    """
    if path is None:
        return frozenset()
    elsewhere = claims.get("_claim_names")  # OIDC Core §5.6.2; Entra does so beyond 200 groups
    if isinstance(elsewhere, Mapping) and path in elsewhere:
        return None
    found = claim_at(claims, path)
    if found is None:
        return frozenset()
    listed = [found] if isinstance(found, str) else found
    return frozenset(listed) if _is_list(listed) else None


def _is_list(given: Any) -> bool:
    return isinstance(given, list) and len(given) <= MAX_LIST and all(is_name(one) for one in given)


def is_name(given: Any, most: int = MAX_NAME) -> TypeGuard[str]:
    """Printable, which neither line ends nor marks of direction are: it is read in logs."""
    return isinstance(given, str) and 0 < len(given) <= most and given.isprintable()


def _is_attribute(given: Any) -> bool:
    return isinstance(given, bool | int | float) or is_name(given) or (isinstance(given, list) and _is_list(given))
