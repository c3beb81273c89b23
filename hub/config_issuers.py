"""`auth.issuers` and `auth.sso`: whose tokens open the hub, and at whose login people may log in."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from hub.config_secrets import Unresolved
from hub.config_section import Section
from hub.config_servers import Entries, url_problem
from hub.core.addresses import ascii_host
from hub.identity.issuers import ALGORITHMS, DEFAULT_ALGORITHMS, Introspecting, Issuer
from hub.identity.oauth.provider import SCOPES, SIGNATURES, Provider
from hub.identity.roles import BUILT_IN, MEMBER

SECTION: Final = "auth"  # also whose stored secrets these are, among the ids of servers
MAX_ISSUERS: Final = 20
MAX_ENTRIES: Final = 200  # of one list or mapping
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,23}")
_TITLE: Final = 40
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # RFC 6749 §3.3
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class HeldSecret:
    """Read once, while the configuration was loaded."""

    value: str = field(repr=False)

    def __call__(self) -> str:
        return self.value


def read_fetch_local(section: Section) -> tuple[str, ...]:
    """Hosts, addresses and networks that the hub may ask although they are private, or this machine."""
    found = section.texts("fetch_local") or ()
    for entry in found:
        try:
            ip_network(entry)
        except ValueError:
            try:
                ascii_host(entry if "/" not in entry else "")
            except ValueError:
                section.fault("fetch_local", f"{entry[:80]!r} is no host name, address or network such as 10.0.0.0/8")
    return found


def read_issuers(section: Section, entries: Entries, roles: Collection[str]) -> tuple[Issuer, ...]:
    """`roles`: the names of the configured ones."""
    listed = section.items("issuers")
    if len(listed) > MAX_ISSUERS:
        section.fault("issuers", f"must be {MAX_ISSUERS} at most")
    found: dict[str, Issuer] = {}
    for entry in listed[:MAX_ISSUERS]:
        made = _issuer(entry, entries, roles)
        if made is None:
            continue
        if any(other.issuer == made.issuer for other in found.values()):
            entry.fault("issuer", "is listed twice")
        elif made.name in found:
            entry.fault("name", f"{made.name!r} is another issuer's too: give each a name of its own")
        else:
            found[made.name] = made
    _claim_secrets(entries)
    return tuple(found.values())


def read_sso(section: Section, entries: Entries, roles: Collection[str]) -> Provider | None:
    """None without the section: there is no such login then."""
    if section.take("sso") is None:
        return None
    entry = section.section("sso")
    claims = entry.section("claims")
    mapped = _roles(entry, roles)
    title = entry.text("name", "Company")
    if len(title) > _TITLE or not title.isprintable():
        entry.fault("name", f"must be at most {_TITLE} characters that can be seen")
    made = Provider(
        issuer=_issuer_url(entry),
        client_id=_needed(entry, "client_id", "as which the hub is registered there"),
        secret=_secret(entry, entries),
        title=title,
        scopes=_scopes(entry),
        algorithms=_algorithms(entry, SIGNATURES, SIGNATURES),
        name_claim=claims.text("name", "preferred_username"),
        display_claim=claims.text("display", "name"),
        email_claim=claims.text("email", "email"),
        roles_claim=claims.text("roles", None),
        roles=mapped,
        # whoever maps roles says who may what, and nobody gets more by going without saying
        default_roles=_known(entry, "default_roles", roles, () if mapped else (MEMBER,)),
        groups_claim=claims.text("groups", None),
        attributes=_bounded(claims, "attributes"),
        create=entry.flag("create", True),
        password_login=entry.flag("password_login", True),
    )
    _closed(entry, claims, made.roles, made.roles_claim)
    _claim_secrets(entries)
    return made


def _issuer(entry: Section, entries: Entries, roles: Collection[str]) -> Issuer | None:
    url, claims = _issuer_url(entry), entry.section("claims")
    name = entry.text("name", None) or _named(url)
    if not _NAME.fullmatch(name):
        entry.fault("name", "must begin with a lower-case letter, then letters, digits or -, 24 at most")
        name = "x"
    jwks_uri = entry.text("jwks_uri", None)
    if jwks_uri is not None and (problem := _url_problem(jwks_uri)) is not None:
        entry.fault("jwks_uri", problem)
    made = Issuer(
        name=name,
        issuer=url or "https://unknown.invalid",
        audiences=entry.texts("audiences") or (),
        algorithms=_algorithms(entry, DEFAULT_ALGORITHMS, ALGORITHMS),
        jwks_uri=jwks_uri,
        name_claim=claims.text("name", "sub"),
        roles_claim=claims.text("roles", None),
        roles=_roles(entry, roles),
        default_roles=_known(entry, "default_roles", roles, ()),
        groups_claim=claims.text("groups", None),
        attributes=_bounded(claims, "attributes"),
        scope_prefix=entry.text("scope_prefix", ""),
        scopes=_bounded(entry, "scopes"),
        default_scopes=entry.texts("default_scopes") or (),
        introspecting=_introspection(entry, entries),
    )
    _closed(entry, claims, made.roles, made.roles_claim)
    return made if url else None


def _introspection(entry: Section, entries: Entries) -> Introspecting | None:
    if entry.take("introspection") is None:
        return None
    section = entry.section("introspection")
    url = section.text("url", None)
    if url is not None and (problem := _url_problem(url)) is not None:
        section.fault("url", problem)
    made = Introspecting(
        client_id=_needed(section, "client_id", "as which the hub asks"),
        secret=_secret(section, entries),
        url=url,
        opaque=section.flag("opaque", True),
    )
    section.close()
    return made


def _closed(entry: Section, claims: Section, roles: Mapping[str, object], roles_claim: str | None) -> None:
    claims.close()
    if roles and roles_claim is None:
        entry.fault("roles", "maps the values of a claim: say which, in claims: {roles: NAME}")
    entry.close()


def _issuer_url(entry: Section) -> str:
    """Byte for byte as its tokens and its metadata name it."""
    url = _needed(entry, "issuer", "the address that its metadata and tokens name, such as https://id.example.com")
    if url and (problem := _url_problem(url)) is not None:
        entry.fault("issuer", problem)
        return ""
    if "?" in url:
        entry.fault("issuer", "must not hold a query (?...)")
        return ""
    return url


def _url_problem(url: str) -> str | None:
    problem = url_problem(url)
    if problem is None and url.startswith("http:") and urlsplit(url).hostname not in _LOOPBACK:
        return "must begin with https://: whoever is on the way could vouch for anybody"
    return problem


def _needed(entry: Section, key: str, what: str) -> str:
    found = entry.text(key, "")
    if not found and not entry.has(key):
        entry.fault(None, f"{key} is needed: {what}")
    return found


def _secret(entry: Section, entries: Entries) -> HeldSecret:
    given = _needed(entry, "client_secret", "such as secret:NAME, env:NAME or file:PATH")
    try:
        value, referred = entries.secrets.resolve(given)
    except Unresolved as exc:
        entry.fault("client_secret", str(exc))
        return HeldSecret("")
    if given and not referred:
        entries.parsed.literal_secrets = True
    return HeldSecret(value)


def _claim_secrets(entries: Entries) -> None:
    named = entries.secrets.named()
    if named:
        own = entries.parsed.secrets.get(SECTION, ())  # of a server that happens to have this name
        entries.parsed.secrets[SECTION] = (*own, *(name for name in named if name not in own))


def _algorithms(entry: Section, usual: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    given = entry.texts("algorithms")
    if given is None:
        return usual
    for name in given:
        if name not in known:
            entry.fault("algorithms", f"{name[:20]!r} is none that is taken; there are {', '.join(known)}")
    if not given:
        entry.fault("algorithms", "must name one at least")
    return tuple(name for name in given if name in known) or usual


def _scopes(entry: Section) -> tuple[str, ...]:
    found = entry.texts("scopes")
    if found is None:
        return SCOPES
    for scope in found:
        if not _SCOPE.fullmatch(scope):
            entry.fault("scopes", f"{scope[:80]!r} is no scope")
    return tuple(dict.fromkeys(("openid", *found)))


def _roles(entry: Section, configured: Collection[str]) -> dict[str, tuple[str, ...]]:
    """A role of the hub by value of the claim."""
    found = _bounded(entry, "roles")
    for value, role in found.items():
        if role not in configured and role not in BUILT_IN:
            line = entry.line_of("roles", value)
            entry.fault_at(line, f"roles.{value}", _no_role(role, configured))
    return {value: (role,) for value, role in found.items()}


def _known(entry: Section, key: str, configured: Collection[str], usual: tuple[str, ...]) -> tuple[str, ...]:
    found = entry.texts(key)
    for role in found or ():
        if role not in configured and role not in BUILT_IN:
            entry.fault(key, _no_role(role, configured))
    return usual if found is None else found


def _no_role(role: str, configured: Collection[str]) -> str:
    return f"there is no role {role[:40]!r}: there are {', '.join(sorted({*configured, *BUILT_IN}))}"


def _bounded(section: Section, key: str) -> dict[str, str]:
    found = section.pairs(key)
    if len(found) > MAX_ENTRIES:
        section.fault(key, f"must be {MAX_ENTRIES} at most")
    return found


def _named(url: str) -> str:
    """A name from its host: `id.example.com` is `id-example-com`."""
    host = (urlsplit(url).hostname or "") if url else ""
    return re.sub(r"[^a-z0-9]+", "-", host).strip("-")[:24].rstrip("-") if host[:1].isalpha() else "issuer"
