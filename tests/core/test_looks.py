"""What hides in a text is spelled out, and what looks the same folds to the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.looks import fold, spelled, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("pay\u202eegap", "pay\\u202eegap"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("blank\u3164\u2800\ufe0f", "blank\\u3164\\u2800\\ufe0f"),
        ("no\u00a0break", "no\\u00a0break"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_spelled_text_shows_every_lookalike() -> None:
    assert spelled("pаy — now\n") == "p\\u0430y \\u2014 now\\n"


@given(st.text())
def test_shown_texts_stand_on_one_printable_line(text: str) -> None:
    for shown in (visible(text), spelled(text)):
        assert shown == "" or shown.isprintable()
        assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    "other",
    [
        "Send-Email",
        "send.email",
        "SEND EMAIL",
        "sendEmail",
        "sеnd_emаil",
        "ｓｅｎｄ_email",
        "s\u200bend_émail",
        "𝐬𝐞𝐧𝐝_email",
    ],
)
def test_names_that_look_alike_fold_to_the_same(other: str) -> None:
    assert fold(other) == fold("send_email") == "sendemail"


def test_digits_fold_to_the_letters_they_look_like() -> None:
    assert fold("l0gin") == fold("1ogin") == "login"


def test_other_alphabets_keep_their_letters() -> None:
    assert fold("支付") == "支付"
    assert fold("支付") != fold("查询")
    assert fold("—…") == ""
