"""The last sweep finds known secrets in every form, and what looks like one; it leaves the rest as it was."""

from __future__ import annotations

import base64
import json
import os
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sliceward.daemons.redaction import HIDDEN, PATHS, Sweep

WORD = 'c4n"ary/päss wörd'


@pytest.mark.parametrize(
    "text",
    [
        f"failed with {WORD}!",
        f"url is mqtt://me:{quote(WORD, safe='')}@broker",
        f"header {base64.b64encode(WORD.encode()).decode()}",
        '{"why": "said c4n\\"ary/p\\u00e4ss w\\u00f6rd"}',
    ],
)
def test_a_known_secret_is_cut_out_in_each_form(text: str) -> None:
    sweep = Sweep([WORD])
    assert "ary" not in sweep(text)
    assert sweep.found == 1


LOOKS = {
    "block of YAML": "data:\n  secret: |\n    abcdef0123456789\n    0123456789\nnext: 1",
    "folded block of YAML": "token: >-\n  abcdef0123456789",
    "list": "tokens: [abcdef0123456789, 0123456789]",
    "list in JSON": '{"tokens": ["abcdef0123456789"], "x": 1}',
    "list over lines": "token: [\n - abcdef0123456789]",
    "cookie": "Cookie: session=abcdef0123456789",
    "cookie that is set": "Set-Cookie: sid=abcdef0123456789; Path=/",
    "Google's key": "key AIzaSyabcdef0123456789abcdef0123456789",
    "Google's token": "ya29.a0abcdef0123456789abcdef0123456789",
    "AWS' key": "AWS_ACCESS_KEY_ID=AKIAABCD0123456789EF",
    "Go's words": 'login with password "abcdef0123456789" failed',
    "argument of a client": "mosquitto_sub -u me -P abcdef0123456789 -t x",
    "bearer": "GET /x Authorization: Bearer abcdef0123456789",
    "url": "could not connect to postgresql://sliceward:abcdef0123456789@db/name",
    "url with slash": "mqtt://me:abcdef/0123456789@broker",
    "signing": "whsec_abcdef0123456789abcdef",
    "jwt": "eyJhbGciOiJ.abcdef0123456789.abcdef0123456789",
    "json": '{"routing_key": "abcdef0123456789"}',
    "json in json": '{"body": "{\\"token\\": \\"abcdef0123456789\\"}"}',
    "variable": "SLICEWARD_STORE__PASSWORD=abcdef0123456789",
    "yaml": "password: abcdef0123456789",
    "key": "-----BEGIN RSA PRIVATE KEY-----\nabcdef0123456789\n-----END RSA PRIVATE KEY-----",
    "GitHub's fine-grained token": "clone failed for github_pat_11ABCDEFG_0123456789abcdef",
    "Hugging Face's token": "huggingface_hub: hf_abcdefghij0123456789 is invalid",
    "npm's token": "npm_abcdefghij0123456789",
    "Google's client secret": "GOCSPX-abcdefghij0123456789",
    "Vault's token": "hvs.CAESIabcdef0123456789",
    "Stripe's key": "sk_live_abcdef0123456789",
    "SendGrid's key": "SG.abcdefghijklmnop.abcdef0123456789",
    "Databricks' token": "dapi0123456789abcdef0123456789abcdef",
    "Weights & Biases' key": "wandb: logged in; api key 0123456789abcdef0123456789abcdef01234567",
    "netrc": "machine api.wandb.ai login user password abcdef0123456789",
    "curl's user": "curl -s -u me:abcdef0123456789 http://x/",
    "curl's user without a space": "curl -uadmin:abcdef0123456789 http://x",
    "sshpass": "sshpass -p abcdef0123456789 ssh me@host",
    "mysql's password": "mysqldump -u me -pabcdef0123456789 db",
    "Slack's token of an app": "xapp-1-A0BCDEFGH-0123456789-abcdef",
    "DigitalOcean's token": "dop_v1_0123456789abcdef0123456789abcdef",
    "PyPI's token": "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDAtMDAw0123456789",
    "mosquitto's password": "mosquitto_pub -u me --pw abcdef0123456789 -t x",
    "another scheme": "Authorization: GenieKey 12ab-cd-0123456789",
    "another scheme in JSON": '{"Authorization": "GenieKey 12ab-cd-0123456789", "x": 1}',
    "another scheme in JSON in JSON": '{"h": "{\\"authorization\\": \\"Token 12ab-cd-0123456789\\"}"}',
    "pair": "headers [('Authorization', 'GenieKey 12ab-cd-0123456789')]",
    "scheme alone": "sent GenieKey 12ab-cd-0123456789",
    "variable of a database": "PGPASSWORD=ab0123456789",
    "key of a cloud": "aws_secret_access_key=ab0123456789",
    "kubeconfig": "    client-key-data: ab0123456789==",
    "option": "pg_dump --password ab0123456789 --host db",
    "option with equals": "sliceward --store-password=ab0123456789",
    "option in JSON": '["run", "--token", "ab0123456789"]',
    "several words": '{"password": "ab cd 0123456789"}',
    "quote within": '{"password": "ab\\"cd0123456789"}',
    "quote within JSON in JSON": '{"body": "{\\"token\\": \\"ab\\\\\\"cd0123456789\\"}"}',
    "comma within": "PASSWORD=ab,cd;ef&0123456789",
    "begins like nothing": "password: none-0123456789",
    "url with at": "could not connect to postgresql://sliceward:ab@cd@0123456789@db/name",
    "url with a cut password": "mqtt://me:***@0123456789@broker",
    "user alone": "https://abcdef0123456789abcdef@sentry.example/1",
    "slack": "POST https://hooks.slack.com/services/T0AB/B0CD/ab0123456789 failed",
    "healthchecks": "https://hc-ping.com/12ab-0123456789",
    "cut key": "-----BEGIN PRIVATE KEY-----\nabcdef0123456789",
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_looks_like_a_secret_is_cut_out(name: str) -> None:
    sweep = Sweep()
    assert "0123456789" not in sweep(LOOKS[name])
    assert sweep.found >= 1


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "set (file /etc/x)", "token": null, "secret": "not set", "tokens": [{"name": "grafana"}]}',
        "taint sliceward.dev/out-of-service on cube-0-host-05 at 2026-11-22T12:00:00Z, epoch 12",
        "https://example.com:8443/path?limit=5",
        "authorization: {credentials_file: /etc/x}, password: {env: NAME}, token: [",
        'password: not set\nsecret: set (file /etc/x)\n"authorization": null, "credentials": [{"name": "a"}]',
        "--password --host db, --token-file /etc/x, mqtt://broker:1883 me@example.com",
        'secret "sliceward-store" not found; the tokens: []',
        "cookies are not used",
        "pypi-publish-workflow sets hf_home_cache_dir and npm_config_registry_x",
        "docker run -u 1000 -v /a:/b image; dedup key 0123456789abcdef0123456789abcdef",
        '{"digest": "0a1b2c3d4e5f6071", "incident": "inc-0a1b2c3d4e"}',
    ],
)
def test_what_is_harmless_stays(text: str) -> None:
    sweep = Sweep(["abc"])
    assert (sweep(text), sweep.found) == (text, 0)


def test_what_is_given_away_names_no_path_of_a_receiver() -> None:
    sweep = Sweep(further=[PATHS])
    text = '{"url": "https://chat.example:8443/hooks/ab0123456789?x=1", "at": "http://b?k=0123456789"} <http://c.example/d>, https://e.example/'
    assert (
        sweep(text) == '{"url": "https://chat.example:8443/***", "at": "http://b?***"} <http://c.example/***>, https://e.example/'
    )
    assert sweep(sweep(text)) == sweep(text)


def test_json_stays_json() -> None:
    for name, text in LOOKS.items():
        if text[0] in "[{":
            assert json.loads(Sweep()(text)), name


@given(st.text(st.characters(exclude_characters="*"), min_size=4), st.text(), st.text())
@example("half\ud800", "", "")
def test_no_known_secret_survives(word: str, before: str, after: str) -> None:
    if len(word.strip()) >= 4:
        assert word.strip() not in Sweep([word])(before + word + after)


def test_a_secret_of_the_environment_that_is_no_utf_8_is_known_in_every_form() -> None:
    raw = "pa\xdfwor".encode("latin-1")
    secret = os.fsdecode(raw)
    forms = (secret, quote(raw), base64.b64encode(raw).decode())
    assert [Sweep([secret])(f"it is {form}") for form in forms] == [f"it is {HIDDEN}"] * 3


PIECES = st.sampled_from(
    [
        "password",
        "authorization",
        "token",
        "--secret",
        "Bearer ",
        "://",
        "a:b@",
        "@",
        ":",
        "=",
        " ",
        '"',
        "'",
        "\\",
        "***",
        "{",
        "]",
        ",",
        "\n",
        "abcdefgh",
        "null",
    ]
)


@example("://://://@")
@given(st.text() | st.lists(PIECES, max_size=12).map("".join))
def test_sweeping_twice_is_sweeping_once(text: str) -> None:
    once = Sweep()(text)
    assert Sweep()(once) == once


@pytest.mark.parametrize("piece", ["password", "secret=[x", "token=[", "token=[a", "token: |\n x\n", "token: | "])
@pytest.mark.parametrize("filling", [" ", "\t", "[", "x", ""])
def test_a_long_text_costs_no_more_than_its_length(piece: str, filling: str) -> None:
    """A pattern that goes back over what it has read would take hours for these."""
    Sweep()(piece + filling * 300_000)
    Sweep()((piece + filling) * 30_000)
