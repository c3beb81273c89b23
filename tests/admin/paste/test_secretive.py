"""What is taken for a secret, and what for a placeholder."""

from __future__ import annotations

import pytest

from hub.admin.paste.secretive import masked_path, placeholder, secret_at, secret_value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GITHUB_TOKEN", "x1"),
        ("password", "hunter2"),
        ("X-Api-Key", "k"),
        ("Authorization", "abc"),
        ("PLAIN", "ghp_0123456789abcdefghij"),
        ("PLAIN", "eyJhbGciOiJI.eyJzdWIi.c2ln"),
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("URL", "https://h/mcp?token=abc123"),
        ("PLAIN", "9f86d081884c7d659a2feaa0c55ad015"),
        ("PLAIN", "Bearer abc"),
        ("FIRESTORE_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\nx"),
        ("SENTRY_DSN", "abc"),
    ],
)
def test_these_are_secrets(name: str, text: str) -> None:
    assert secret_at(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MAX_TOKENS", "4096"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json"),
        ("TOKEN_FILE", "token.txt"),
        ("AUTH_ENABLED", "true"),
        ("LOG_LEVEL", "debug"),
        ("URL", "https://api.example.com/v1/mcp?project=abc"),
        ("X", "@modelcontextprotocol/server-sequential-thinking"),
        ("X", "arn:aws:iam::123456789012:role/reader"),
        ("KEYBOARD", "qwerty"),
        ("X", "http://[broken"),
    ],
)
def test_these_are_none(name: str, text: str) -> None:
    assert not secret_at(name, text)


@pytest.mark.parametrize(
    "text",
    ["", "YOUR_API_KEY", "<token>", "xoxb-your-bot-token", "sk-...", "***", "xxxxxxxx", "your_key_here", "[KEY]"],
)
def test_these_only_stand_where_a_secret_belongs(text: str) -> None:
    assert placeholder(text, secret=True)


@pytest.mark.parametrize("text", ["hunter2", "ghp_0a1B2c3D4e5F6g7H8i9J", "postgresql://app:Pg-77@localhost/mydb"])
def test_these_are_no_placeholders(text: str) -> None:
    assert not placeholder(text, secret=True)


def test_a_key_in_a_path_is_not_shown() -> None:
    assert masked_path("/api/mcp/s/NTYxZmE0LTQ2YTgtcanary9iOGFhZS00/mcp") == "/api/mcp/s/***/mcp"
    assert masked_path("/v1/projects/my-team/mcp") == "/v1/projects/my-team/mcp"
    assert secret_value("https://h/s/NTYxZmE0LTQ2YTgtcanary9iOGFhZS00/mcp")
