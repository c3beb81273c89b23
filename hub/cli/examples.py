"""What `--help` of each verb shows it in use by. Pure words: a test reads each one with the verb's own parser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "up": (
        ("mcp-hub up", "a hub to try, in this terminal"),
        ("mcp-hub up --listen 127.0.0.1:0", "on a free port"),
    ),
    "serve": (
        ("mcp-hub serve", "with ./hub.yaml, or the defaults"),
        ("mcp-hub serve --config /etc/mcp-hub/hub.yaml", "with this file"),
    ),
    "stdio": (
        ("mcp-hub stdio", "as a client starts it"),
        ("mcp-hub stdio --endpoint reading", "what /reading/mcp offers"),
    ),
    "servers": (
        ("mcp-hub servers import < paste.json", "what a documentation says to paste"),
        ("mcp-hub servers list", "how each one is doing"),
        ("mcp-hub servers diff time", "what it changed, before approving it"),
    ),
    "servers list": (
        ("mcp-hub servers list", "states, items, warnings, and why one is down"),
        ("mcp-hub servers list --json", "the same for scripts"),
    ),
    "servers test": (("mcp-hub servers test time", "connect now; exits with 1 when it does not work"),),
    "servers diff": (("mcp-hub servers diff time", "word by word, with the hash of each definition"),),
    "servers approve": (
        ("mcp-hub servers approve time", "all that waits"),
        ("mcp-hub servers approve time get_now", "this tool alone"),
    ),
    "servers add": (
        ("mcp-hub servers add time -- uvx mcp-server-time==2025.9.25", "a program"),
        ("mcp-hub servers add wiki --url https://wiki.example.com/mcp", "an address"),
        ("mcp-hub servers add jira --env JIRA_TOKEN -- uvx mcp-jira==1.2.0", "asks for the token"),
        ("mcp-hub servers add time --dry-run -- uvx mcp-server-time", "a look, and no change"),
    ),
    "servers import": (
        ("mcp-hub servers import paste.json", "a file, in any client's format"),
        ("mcp-hub servers import < paste.json", "standard input"),
        ("mcp-hub servers import notes.mcpb", "a bundle"),
        ("mcp-hub servers import paste.json --dry-run", "a look, and no change"),
    ),
    "servers show": (("mcp-hub servers show time", "its entry, with secrets as secret:NAME"),),
    "servers enable": (("mcp-hub servers enable time", "at once"),),
    "servers disable": (("mcp-hub servers disable time", "at once; one of the file too"),),
    "servers remove": (("mcp-hub servers remove time", "at once; not one of the file"),),
    "endpoints": (
        ("mcp-hub endpoints add reading --read-only", "what only reads, at /reading/mcp"),
        ("mcp-hub endpoints list", "with what reading each one costs"),
    ),
    "endpoints add": (
        ("mcp-hub endpoints add ops --server jira --tool 'jira__*'", "chosen servers and tools, at /ops/mcp"),
        ("mcp-hub endpoints add time --server time --prefix none", "names as the server has them"),
        ("mcp-hub endpoints add ops --server jira --replace", "another selection"),
    ),
    "endpoints list": (("mcp-hub endpoints list", "tools, bytes and rough tokens of each"),),
    "endpoints show": (
        ("mcp-hub endpoints show ops", "what it offers, with warnings"),
        ("mcp-hub endpoints show /mcp", "the default endpoint"),
    ),
    "endpoints remove": (("mcp-hub endpoints remove ops", "at once; not one of the file"),),
    "tools": (
        ("mcp-hub tools list", "every tool that clients see"),
        ('mcp-hub tools call time__get_now --args \'{"zone": "UTC"}\'', "call one"),
    ),
    "tools list": (
        ("mcp-hub tools list", "of /mcp"),
        ("mcp-hub tools list --endpoint ops", "of /ops/mcp"),
    ),
    "tools call": (
        ('mcp-hub tools call time__get_now --args \'{"zone": "UTC"}\'', "with arguments"),
        ("mcp-hub tools call time__get_now --args - < args.json", "with those of a file"),
    ),
    "login": (
        ("mcp-hub login notion", "your own account, in the browser"),
        ("mcp-hub login notion --label work", "a second one there"),
        ("mcp-hub login jira --shared", "the account that everybody uses"),
        ("mcp-hub login notion --user ada --no-browser", "a link for ada, to send her"),
    ),
    "logout": (
        ("mcp-hub logout notion", "your own account there"),
        ("mcp-hub logout notion --user ada --all", "every account of ada there"),
        ("mcp-hub logout o0123456789abcdef", "this one, as `connections` prints it"),
    ),
    "connections": (
        ("mcp-hub connections", "whose, in which state, since when"),
        ("mcp-hub connections --user ada --json", "of one user, for scripts"),
    ),
    "users": (
        ("mcp-hub users add ada --role admin", "asks for the password without echo"),
        ("mcp-hub users import people.json", "as an identity provider exports them"),
        ("mcp-hub users disable ada", "at once, with all that is open"),
    ),
    "users add": (
        ("mcp-hub users add ada --role admin", "asks for the password without echo"),
        ("mcp-hub users add bob --group ops --email bob@example.com", "a member, in a group"),
        ("mcp-hub users add ci --password-stdin < password.txt", "takes the password from standard input"),
    ),
    "users invite": (("mcp-hub users invite", "open the link, and choose a name and a password"),),
    "users list": (("mcp-hub users list", "names, states, roles and groups"),),
    "users show": (("mcp-hub users show ada", "all about one, but the password"),),
    "users passwd": (
        ("mcp-hub users passwd ada", "asks for the new one without echo"),
        ("mcp-hub users passwd ada --password-stdin < password.txt", "takes it from standard input"),
    ),
    "users roles": (("mcp-hub users roles ada member auditor", "these two, and no other"),),
    "users disable": (("mcp-hub users disable ada", "logins and tokens end at once"),),
    "users enable": (("mcp-hub users enable ada", "everything as before, but logged out"),),
    "users import": (
        ("mcp-hub users import people.json --dry-run", "a look, and no change"),
        ("mcp-hub users import people.json", "all of it, or nothing"),
    ),
    "users sessions": (("mcp-hub users sessions ada", "programs, what they may do, and since when"),),
    "users logout": (
        ("mcp-hub users logout ada", "all of them"),
        ("mcp-hub users logout ada g0123456789abcdef", "one"),
    ),
    "keys": (
        ("mcp-hub keys create --name ci --server time --expires 90d", "one server, for a time"),
        ("mcp-hub keys rotate ci", "a successor; both are good for a day"),
        ("mcp-hub keys revoke ci", "worthless at once"),
    ),
    "keys create": (
        ("mcp-hub keys create --name ada --server '*'", "every server"),
        ("mcp-hub keys create --name ci --tool 'time__get_*' --expires 30d", "chosen tools, for a time"),
        ("mcp-hub keys create --name auditor --scope audit:read", "reads the log, calls nothing"),
    ),
    "keys list": (("mcp-hub keys list", "with last use, expiry and successors"),),
    "keys rotate": (("mcp-hub keys rotate ci --overlap 12h", "the old one is good for twelve hours more"),),
    "keys revoke": (("mcp-hub keys revoke ci", "every live key of this name; an id is one key"),),
    "secrets": (
        ("mcp-hub secrets set jira-token", "asks for the value without echo"),
        ("mcp-hub secrets list", "names, and who uses them"),
    ),
    "secrets set": (
        ("mcp-hub secrets set jira-token", "asks for the value without echo"),
        ("mcp-hub secrets set jira-token < token.txt", "takes it from standard input"),
    ),
    "secrets list": (("mcp-hub secrets list", "names, versions, ages, and who uses them"),),
    "secrets remove": (
        ("mcp-hub secrets remove jira-token", "refused while a server uses it"),
        ("mcp-hub secrets remove jira-token --force", "all the same"),
    ),
    "secrets rekey": (("mcp-hub secrets rekey", "a new kek; every value stays"),),
    "token": (
        ("mcp-hub token", "what a client sends: lists and calls"),
        ("mcp-hub token --admin", "for the admin API"),
    ),
    "audit": (
        ("mcp-hub audit tail --follow", "who calls what, as it happens"),
        ("mcp-hub audit show 504eeea16333-00000a", "all about one call"),
    ),
    "audit tail": (
        ("mcp-hub audit tail --limit 100 --json", "the newest hundred, one JSON object a line"),
        ("mcp-hub audit tail --limit 0 --follow", "only what comes"),
    ),
    "audit show": (("mcp-hub audit show 504eeea16333-00000a", "every entry of it"),),
    "status": (
        ("mcp-hub status", "one look"),
        ("mcp-hub status --watch", "live, until Ctrl-C"),
    ),
    "doctor": (
        ("mcp-hub doctor", "exits with 1 when there is a problem"),
        ("mcp-hub doctor --json", "the same for scripts"),
    ),
    "reload": (("mcp-hub reload", "now; a saved change is read within a second anyway"),),
    "log-level": (
        ("mcp-hub log-level", "what it is"),
        ("mcp-hub log-level debug", "more, until the next start"),
    ),
    "backup": (
        ("mcp-hub backup hub.tar.gz", "whoever has it is this hub"),
        ("mcp-hub backup hub.tar.gz --without-secrets", "to hand on"),
    ),
    "restore": (("mcp-hub restore hub.tar.gz --into data", "checked whole before anything is there"),),
    "render": (
        ("mcp-hub render systemd --out .", "a hardened unit"),
        ("mcp-hub render compose --out .", "a hardened container"),
    ),
    "render systemd": (("mcp-hub render systemd --user mcp --out .", "run as this user"),),
    "render compose": (("mcp-hub render compose --out .", "compose.yaml, Dockerfile and hub.yaml"),),
    "version": (("mcp-hub version --json", "with the protocol revisions"),),
}


def examples(words: str) -> str:
    """The part of a help text for the verb of these words; empty where there is none."""
    rows = EXAMPLES.get(words, ())
    width = max((len(command) for command, _ in rows), default=0)
    lines = [f"  {command.ljust(width)}  {does}" for command, does in rows]
    return "\n".join(["", "examples:", *lines, ""]) if lines else ""
