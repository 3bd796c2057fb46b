"""Secrets stay where their owner put them: no URI of ours may carry one, and no text that we write shows one."""

import os
import re
from functools import partial
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

TELLING = re.compile(r"secret|password|passwd|token|credential|signature|access_?key|api_?key|account_?key", re.I)
SHORT = 6  # letters: a shorter value stands in too many texts by chance
HIDDEN = "***"


def refuse(what: str, uri: str) -> str:
    """Return a URI that carries no credentials; ValueError, which does not show them, for one that does.

    `s3://KEY:SECRET@bucket` and `?secret_key=...` do; names of people, as in `hdfs://me@host`, do not.
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    named = parts.username if parts.scheme == "s3" else None
    if parts.password or named or any(TELLING.search(key) for key, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError(
            f"{what} must be a URI without credentials, which would be written wherever the URI is, but got "
            f"{redacted(uri)!r}; leave them to the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or GOOGLE_APPLICATION_CREDENTIALS"
        )
    return uri


def redacted(text: str) -> str:
    """Strip from a text the names and passwords in its URIs, and what the environment holds as secrets."""
    for name, value in os.environ.items():
        if TELLING.search(name) and len(value) >= SHORT and not os.path.isabs(value):  # of a file that holds it
            text = text.replace(value, HIDDEN)
    text = re.sub(r"(\w://)[^/\s'\"<>]*@", rf"\1{HIDDEN}@", text)
    return re.sub(rf"([?&][^=&\s]*(?:{TELLING.pattern})[^=&\s]*=)[^&\s'\"]+", rf"\1{HIDDEN}", text, flags=re.I)


Address = Annotated[str, AfterValidator(partial(refuse, "an address"))]  # a path, or a URI of no secrets
