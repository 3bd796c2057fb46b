"""Secrets of URIs and of the environment: refused, or hidden wherever they would be shown."""

import time
from pathlib import Path

import pytest

from search.cluster.packing import check_for_cluster
from search.tracking.tracker import Tracker
from tests.search.conftest import howcompact
from trainables.curriculum_spec import Curriculum
from trainables.storage.credentials import redacted
from trainables.storage.folder import Folder

SECRET = "dHVja2VkLWF3YXk"


WITH_SECRETS = (
    f"s3://AKIA:{SECRET}@bucket/studies",
    f"s3://{SECRET}@bucket/studies",
    f"s3://bucket/studies?secret_key={SECRET}",
    f"s3://bucket/studies?region=x&access_key={SECRET}",
    f"gs://bucket/x?token={SECRET}",
    f"abfss://:{SECRET}@account.dfs.core.windows.net/x",
    f"https://me:{SECRET}@host/x?X-Amz-Signature={SECRET}",
)


@pytest.mark.parametrize("uri", WITH_SECRETS)
def test_a_uri_with_credentials_is_refused_without_showing_them(uri: str) -> None:
    for use in (Folder.at, lambda uri: check_for_cluster("digits", uri), lambda uri: Curriculum(table=uri)):
        with pytest.raises(ValueError, match="without credentials") as refusal:
            use(uri)
        assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "digits", "--storage", WITH_SECRETS[0]],
        ["compare", WITH_SECRETS[0]],
        ["best", WITH_SECRETS[2]],
        ["run", "digits", "--set", f"tracking={WITH_SECRETS[6]}"],
        ["run", "digits", "--set", f"curricula=[{{name: easy-first, table: '{WITH_SECRETS[3]}'}}]"],
        ["submit", "digits", "--address", "http://127.0.0.1:9", "--storage", WITH_SECRETS[1]],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_no_command_takes_or_shows_credentials(arguments: list[str], tmp_path: Path) -> None:
    done = howcompact(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "without credentials" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "uri", ["s3://bucket/x?region=eu&scheme=http", "gs://anonymous@bucket", "hdfs://me@host/x", "/data/a:b@c?token=1"]
)
def test_a_uri_without_credentials_is_nobodys_secret(uri: str) -> None:
    assert Curriculum(table=uri).table == uri


def test_texts_lose_the_secrets_of_uris_and_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("SOME_TOKEN", "short")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/token")
    text = f"cannot reach 'https://me:pass@host/a?b=1&sig_token=abc&c=2' with {SECRET} in short, see /home/me/token"
    assert redacted(text) == (
        "cannot reach 'https://***@host/a?b=1&sig_token=***&c=2' with *** in short, see /home/me/token"
    )
    assert redacted("s3://bucket/x and a@b.c") == "s3://bucket/x and a@b.c"


def test_a_tracking_server_is_named_without_its_password() -> None:
    told: list[str] = []
    tracker = Tracker(f"http://me:{SECRET}@127.0.0.1:9", "s", {}, warn=told.append)
    until = time.monotonic() + 30
    while not told and time.monotonic() < until:
        time.sleep(0.05)
    tracker.close(timeout=5.0)
    (warning,) = told
    assert warning.startswith("MLflow at http://***@127.0.0.1:9 does not answer")
    assert SECRET not in warning
