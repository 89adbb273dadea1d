"""Whom the studio tells when something happens in a round."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import model_validator

from accord.config.fields import Name, Section, require

WebhookEvent: TypeAlias = Literal[
    "round.opened",
    "round.complete",
    "round.closed",
    "round.frozen",
    "question.asked",
    "adjudication.opened",
]
EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)


class WebhookConfig(Section):
    """A program that is told, by signed messages; named here alone, never on a page."""

    url: Name | None = None
    """Address that messages are posted to, such as `https://example.org/hooks/accord`. None: the
    studio tells nobody."""

    secret_env: Name = "ACCORD_WEBHOOK_SECRET"
    """Environment variable that holds the secret which signs them: `whsec_` and 24 to 64 random
    bytes in base64."""

    events: tuple[WebhookEvent, ...] = EVENTS
    """What is told. `round.complete`: the last judgment that the round wanted was given."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = urlsplit(self.url or "http://nobody")
        require(
            parts.scheme in ("http", "https") and bool(parts.hostname),
            f"url must start with http:// or https:// and name a host, not {self.url!r}",
            "url",
        )
        return self
