"""Secrets stay with their owner: our URIs hold none, and the texts that we write show none."""

import os
import re
from functools import partial
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

SECRET_WORDS = re.compile(r"secret|password|passwd|token|credential|signature|access_?key|api_?key|account_?key", re.I)
SHORTEST = 6  # characters of a secret; shorter values occur in too many texts by chance
HIDDEN = "***"


def refuse(what: str, uri: str) -> str:
    """Return the URI if it holds no credentials. Raises ValueError, without showing them, if it does.

    `s3://KEY:SECRET@bucket` and `?secret_key=...` hold credentials. The name of a user, as in `hdfs://me@host`, is
    none. `what` names the URI in the error.
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    key = parts.username if parts.scheme == "s3" else None
    if (
        parts.password
        or key
        or any(SECRET_WORDS.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    ):
        raise ValueError(
            f"{what} must be a URI without credentials, as URIs are written to many files, but got "
            f"{redacted(uri)!r}; put them into the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or GOOGLE_APPLICATION_CREDENTIALS"
        )
    return uri


def redacted(text: str) -> str:
    """Replace users and passwords of URIs, and the secrets of the environment, with *** in a text."""
    for name, value in os.environ.items():
        if (
            SECRET_WORDS.search(name) and len(value) >= SHORTEST and not os.path.isabs(value)
        ):  # a path leads to a secret and is none
            text = text.replace(value, HIDDEN)
    text = re.sub(r"(\w://)[^/\s'\"<>]*@", rf"\1{HIDDEN}@", text)
    return re.sub(rf"([?&][^=&\s]*(?:{SECRET_WORDS.pattern})[^=&\s]*=)[^&\s'\"]+", rf"\1{HIDDEN}", text, flags=re.I)


Address = Annotated[str, AfterValidator(partial(refuse, "an address"))]  # a path, or a URI without credentials
