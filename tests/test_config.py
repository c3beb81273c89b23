"""What a configuration may say, where it is found, and that every mistake is reported with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.config import Config, ConfigError, Listen, find, load
from hub.core.ports import Endpoint, Rate

TOKEN = "t" * 32
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str, name: str = "hub.yaml", mode: int = 0o600) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    return written


def faults(path: Path | None, listen: str | None = None, **environ: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, listen=listen)
    return [(fault.line, fault.where, fault.text) for fault in caught.value.faults]


def test_without_a_file_the_hub_listens_on_loopback_with_no_servers() -> None:
    config = load(None, {"XDG_DATA_HOME": "/data"})
    assert config.listen == Listen("127.0.0.1", 8700)
    assert config.data_dir == Path("/data/mcp-hub")
    assert config.servers == ()
    assert config.endpoints == {"": Endpoint("")}
    assert config.per_caller == Rate(600, 300)
    assert config.allowed_hosts >= {"localhost", "127.0.0.1", "[::1]"}
    assert config.edge.body_bytes == 4 * 1024 * 1024


@pytest.mark.parametrize("xdg", ["", "relative/path"])
def test_the_data_directory_falls_back_to_the_home(xdg: str) -> None:
    assert load(None, {"XDG_DATA_HOME": xdg, "HOME": "/h"}).data_dir == Path("/h/.local/share/mcp-hub")


def test_the_command_line_wins_over_the_environment_and_that_over_the_directory(tmp_path: Path) -> None:
    (tmp_path / "hub.yaml").write_text("")
    environ = {"MCP_HUB_CONFIG": "from-env.yaml"}
    assert find("given.yaml", environ, tmp_path) == tmp_path / "given.yaml"
    assert find(None, environ, tmp_path) == tmp_path / "from-env.yaml"
    assert find(None, {}, tmp_path) == tmp_path / "hub.yaml"
    assert find(None, {}, tmp_path / "elsewhere") is None


def test_a_named_file_that_does_not_exist_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path / "no.yaml") == [(None, "", "there is no such file")]


def test_an_unreadable_file_is_a_fault_in_words(tmp_path: Path) -> None:
    [(line, _, text)] = faults(tmp_path)
    assert line is None
    assert "cannot be read" in text


def test_every_setting_reaches_its_place(write: Write, tmp_path: Path) -> None:
    config = load(
        write(
            """
listen: "[::1]:9000"
data_dir: ./data
limits: {per_caller: {per_minute: 60}}
edge: {body_bytes: 2048, drain_s: 1.5, sessions: 5, trusted_proxies: [127.0.0.1, "fd00::/8"]}
screening: {descriptions: block, arguments: off, results: flag}
results: strict
output_bytes: 4096
allowed_hosts: [Hub.Example.com]
allowed_origins: ["https://App.example.com"]
log: {level: debug}
mcpServers: {time: {command: uvx, args: [mcp-server-time]}}
endpoints:
  /clock/mcp: {servers: [time], prefix: none, page_size: 7}
"""
        ),
        {"MCP_HUB_TOKEN": TOKEN, "OTHER": "x"},
    )
    assert config.listen == Listen("::1", 9000)
    assert config.data_dir == tmp_path / "data"
    assert config.per_caller == Rate(60, 30)
    assert (config.edge.body_bytes, config.edge.drain_s, config.edge.sessions) == (2048, 1.5, 5)
    assert config.edge.trusted_proxies == ("127.0.0.1", "fd00::/8")
    assert (config.screening.descriptions, config.screening.arguments) == ("block", "off")
    assert (config.results, config.output_bytes, config.log_level) == ("strict", 4096, "debug")
    assert {"hub.example.com", "localhost", "::1"} <= config.allowed_hosts
    assert config.allowed_origins == {"https://app.example.com"}
    assert config.endpoints["clock"] == Endpoint("clock", frozenset({"time"}), "none", 7)
    assert config.endpoints[""] == Endpoint("")
    assert config.tokens == {"MCP_HUB_TOKEN": TOKEN}
    assert TOKEN not in repr(config)


def test_five_mistakes_are_reported_at_once_with_their_lines(write: Write) -> None:
    path = write(
        """listen: nowhere
reslts: warn
mcpServers:
  time:
    comand: uvx
  bad server!: {command: x}
log: {level: loud}
"""
    )
    found = faults(path)
    assert [(line, where) for line, where, _ in found] == [
        (1, "listen"),
        (2, "reslts"),
        (4, "mcpServers.time"),
        (5, "mcpServers.time.comand"),
        (6, "mcpServers.bad server!"),
        (7, "log.level"),
    ]
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert f"{path}:2: reslts: unknown key; did you mean 'results'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1\nb: ]]", 2, "is no YAML"),
        ("a: 1\n---\nb: 2", 2, "is no YAML"),
        ("listen: a:1\nlisten: b:2", 2, "given twice; the first stands on line 1"),
        ("mcpServers: !!python/object x", 1, "not supported"),
        ("? [a, b]\n: c", 1, "a key must be a text"),
        ("x: &x {a: 1}\nlog:\n  <<: *x", 3, "merge keys"),
        ("- a\n- b", 1, "must be a mapping, not a list"),
        ("just words", 1, "must be a mapping, not a text"),
        ("a: " + "[" * 40 + "]" * 40, 1, "nested too deeply"),
        ("a: " + "[" * 1500, None, "is no YAML"),
        ("a: \x01", None, "is no YAML"),
    ],
)
def test_text_that_is_no_configuration_is_a_fault_in_words(
    write: Write, text: str, line: int | None, words: str
) -> None:
    assert any(found == line and words in told for found, _, told in faults(write(text)))


def test_a_billion_laughs_are_refused_quickly(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert any("too large" in text for _, _, text in faults(write("\n".join(lines))))


def test_a_huge_file_is_refused_unread(write: Write) -> None:
    [(_, _, text)] = faults(write("#" * (1024 * 1024 + 1)))
    assert "larger than" in text


def test_a_file_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_bytes(b"listen: \xff")
    assert faults(path) == [(None, "", "is not UTF-8 text")]


def test_json_is_read_with_lines_tabs_and_emoji(write: Write) -> None:
    text = '{\n\t"mcpServers": {\n\t\t"time": {"command": "uvx", "env": {"ICON": "\\ud83d\\ude00", "N": 10}}\n\t}\n}'
    [server] = load(write(text, "hub.json"), {}).servers
    assert server.env == {"ICON": "\U0001f600", "N": "10"}
    wrong = write('{\n\t"log": {\n\t\t"levl": "info"}}', "wrong.json")
    assert faults(wrong) == [(3, "log.levl", "unknown key; did you mean 'level'?")]


@pytest.mark.parametrize(("text", "line"), [('{"a": 1,\n}', 2), ("[" * 100_000, None)])
def test_broken_json_tells_its_line(write: Write, text: str, line: int | None) -> None:
    assert [found for found, _, _ in faults(write(text, "hub.json"))] == [line]


def test_numbers_are_read_as_yaml_1_2_and_texts_keep_their_spelling(write: Write) -> None:
    text = "output_bytes: 0x1000\nmcpServers: {t: {command: x, args: [1.10, 010, true, 2020-01-01]}}\nresults: off"
    config = load(write(text), {})
    assert config.output_bytes == 4096
    assert config.servers[0].command == ("x", "1.10", "010", "true", "2020-01-01")
    assert config.results == "off"


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("output_bytes: many", "output_bytes", "whole number"),
        ("output_bytes: true", "output_bytes", "whole number"),
        ("output_bytes: 4__096", "output_bytes", "whole number"),
        ("allowed_hosts: {a: b}", "allowed_hosts", "not a mapping"),
        ("output_bytes: .inf", "output_bytes", "whole number"),
        ("edge: {drain_s: soon}", "edge.drain_s", "number from 0 to 3600"),
        ("edge: {drain_s: .nan}", "edge.drain_s", "number from"),
        ("edge: {header_s: true}", "edge.header_s", "number from"),
        ("edge: [1]", "edge", "must be a mapping, not a list"),
        ("edge: {trusted_proxies: [10.0.0.1/8]}", "edge.trusted_proxies", "no address or network"),
        ("edge: {trusted_proxies: [proxy.corp]}", "edge.trusted_proxies", "no address or network"),
        ("results: loud", "results", "one of off, warn, strict"),
        ("data_dir: [x]", "data_dir", "must be a text"),
        ('data_dir: ""', "data_dir", "must not be empty"),
        ('data_dir: "a\\0b"', "data_dir", "NUL"),
        ("allowed_hosts: example.com", "allowed_hosts", "list of texts, not a text"),
        ("allowed_hosts: [[a]]", "allowed_hosts", "must be a text, not a list"),
        ('allowed_hosts: ["example.com:80"]', "allowed_hosts", "without a port"),
        ("allowed_origins: [example.com]", "allowed_origins", "no origin"),
        ("limits: {per_caller: {per_minute: 0}}", "limits.per_caller.per_minute", "number from"),
        ("limits: {per_tool: {}}", "limits.per_tool", "known here: per_caller"),
        ("oauth: {}", "oauth", "is called auth here"),
        ("policy: {}", "policy", "the policy language is not built yet"),
        ("budgets: {}", "budgets", "budgets is not built yet"),
        ("models: {}", "models", "not built yet"),
        ("secrets: {}", "secrets", "run mcp-hub secrets set NAME"),
        ("servers: {}", "servers", "is called mcpServers here"),
        ("port: 80", "port", "part of listen"),
        ("listen: 8700", "listen", "must be a text"),
        ("listen: localhost", "listen", "HOST:PORT"),
        ("listen: a:99999", "listen", "HOST:PORT"),
        ("endpoints: {/mcp/: {}}", "endpoints./mcp/", "/mcp or /NAME/mcp"),
        ("endpoints: {/UP/mcp: {}}", "endpoints./UP/mcp", "lower case"),
        ("endpoints: {/x/mcp: {servers: [nope]}}", "endpoints./x/mcp.servers", "not in mcpServers"),
        ("endpoints: {/x/mcp: {servers: []}}", "endpoints./x/mcp.servers", "selects nothing"),
        ("endpoints: {/x/mcp: {servers: all}}", "endpoints./x/mcp.servers", "list of texts"),
        ('endpoints: {/x/mcp: {servers: "*", prefix: none}}', "endpoints./x/mcp.prefix", "exactly one server"),
        ("endpoints: {/x/mcp: {page_size: 0}}", "endpoints./x/mcp.page_size", "whole number"),
        ("endpoints: {/x/mcp: {tols: []}}", "endpoints./x/mcp.tols", "did you mean 'tools'"),
        ("endpoints: {/x/mcp: {tools: []}}", "endpoints./x/mcp.tools", "selects nothing"),
        ("endpoints: {/x/mcp: {tools: all}}", "endpoints./x/mcp.tools", "list of texts"),
        ('endpoints: {/x/mcp: {tools: [""]}}', "endpoints./x/mcp.tools", "1 to 256 characters"),
        (f"endpoints: {{/x/mcp: {{tools: [{'x' * 257}]}}}}", "endpoints./x/mcp.tools", "1 to 256 characters"),
        (f"endpoints: {{/x/mcp: {{tools: [{'x, ' * 501}]}}}}", "endpoints./x/mcp.tools", "at most 500"),
        ("endpoints: {/x/mcp: {read_only: maybe}}", "endpoints./x/mcp.read_only", "true or false"),
        ("endpoints: {/x/mcp: {instructions: [x]}}", "endpoints./x/mcp.instructions", "must be a text"),
        (f"endpoints: {{/x/mcp: {{instructions: {'x' * 40_000}}}}}", "endpoints./x/mcp.instructions", "at most 32768"),
    ],
)
def test_a_value_that_cannot_be_is_a_fault(write: Write, text: str, where: str, words: str) -> None:
    assert any(found == where and words in told for _, found, told in faults(write(text)))


def test_an_endpoint_may_not_select_a_variant(write: Write) -> None:
    text = "mcpServers:\n  a: {command: x}\n  b: {command: y, variant_of: a}\nendpoints: {/x/mcp: {servers: [b]}}"
    assert any("is a variant" in told for _, _, told in faults(write(text)))


def test_an_endpoint_may_name_servers_as_they_were_pasted(write: Write) -> None:
    text = "mcpServers:\n  My Server: {command: x}\nendpoints: {/x/mcp: {servers: [My Server]}}"
    assert load(write(text), {}).endpoints["x"].servers == frozenset({"my-server"})


def test_an_endpoint_selects_tools_and_speaks_for_itself(write: Write) -> None:
    text = """endpoints:
  /x/mcp: {tools: ["time__get_*", wiki__read], read_only: true, instructions: "Ask in English."}
  /y/mcp: {tools: "*"}
"""
    config = load(write(text), {})
    assert config.endpoints["x"] == Endpoint(
        "x", tools=("time__get_*", "wiki__read"), read_only=True, instructions="Ask in English."
    )
    assert config.endpoints["y"] == Endpoint("y")
    assert config.policy_version != load(None, {}).policy_version


def test_the_command_line_decides_where_to_listen(write: Write) -> None:
    assert load(write("listen: 127.0.0.1:1"), {}, listen="127.0.0.1:0").listen == Listen("127.0.0.1", 0)
    assert faults(None, listen="8700") == [(None, "--listen", "must be HOST:PORT, such as 127.0.0.1:8700")]


def test_listening_everywhere_needs_the_names_of_the_hosts(write: Write) -> None:
    [(line, where, text)] = faults(write("\nlisten: 0.0.0.0:80"))
    assert (line, where) == (2, "allowed_hosts")
    assert "name the hosts" in text
    assert faults(None, listen="[::]:80")[0][0] is None
    config = load(write("listen: 0.0.0.0:80\nallowed_hosts: [hub.example.com]"), {})
    assert "hub.example.com" in config.allowed_hosts
    assert "0.0.0.0" not in config.allowed_hosts
    assert not config.listen.loopback


def test_the_address_it_listens_on_is_an_allowed_host() -> None:
    assert "192.0.2.1" in load(None, {}, listen="192.0.2.1:80").allowed_hosts


@pytest.mark.parametrize(
    ("host", "loopback"), [("localhost", True), ("127.1.2.3", True), ("::1", True), ("hub.internal", False)]
)
def test_loopback_is_judged_by_the_address(host: str, loopback: bool) -> None:
    assert Listen(host, 1).loopback is loopback
    assert not Listen(host, 1).wildcard


@pytest.mark.parametrize("name", ["MCP_HUB_TOKEN", "MCP_HUB_ADMIN_TOKEN"])
@pytest.mark.parametrize("token", ["", "short-and-secret"])
def test_a_short_token_is_a_fault_that_does_not_tell_it(name: str, token: str) -> None:
    [(_, where, text)] = faults(None, **{name: token})
    assert where == name
    assert "at least 32" in text
    assert not token or token not in text


def test_the_two_tokens_must_differ() -> None:
    [(_, where, text)] = faults(None, MCP_HUB_TOKEN=TOKEN, MCP_HUB_ADMIN_TOKEN=TOKEN)
    assert where == "MCP_HUB_ADMIN_TOKEN"
    assert "must differ" in text


def test_the_policy_version_names_the_rules_and_nothing_else(write: Write) -> None:
    plain = load(None, {})
    assert load(None, {}, listen="127.0.0.1:1").policy_version == plain.policy_version
    versions = {
        load(write(text), {}).policy_version
        for text in ("", "results: strict", "screening: {results: block}", "mcpServers: {a: {command: x}}")
    }
    assert len(versions) == 4
    assert plain.policy_version in versions


def test_another_port_is_another_configuration() -> None:
    config = load(None, {})
    assert config.listening(Listen("127.0.0.1", 0)).listen.port == 0
    assert config.listen.port == 8700


def test_every_fault_fits_on_its_own_line() -> None:
    error = ConfigError((), "x")
    assert str(error) == ""
    assert isinstance(Config(Path("/x")), Config)
    assert json.loads(json.dumps(Config(Path("/x")).policy_version))
