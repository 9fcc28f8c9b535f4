"""What a pipeline.yaml may say of its page; must not know how the page is made."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pydantic import Field

from infra.spec_part import Part, Secret


class Targets(Part):
    """Base addresses whose /metrics and /status the page reads."""

    join: str | None = None
    learner: str | None = None
    replicas: tuple[str, ...] = ()


class Prices(Part):
    """What the store's provider asks for; the defaults are those of Amazon S3 standard, us-east-1."""

    put_1000: float = Field(default=0.005, ge=0)
    get_1000: float = Field(default=0.0004, ge=0)
    gib_month: float = Field(default=0.023, ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")


class Dashboard(Part):
    """The page.

    Attributes:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        targets: The processes that the page asks.
        history: The file of past figures.
        token: Who knows it may pin, promote and resume on the page; without one nobody may.
        prices: For the cost of the store.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    targets: Targets = Targets()
    history: str = ".springtide/history.sqlite"
    token: Secret | None = None
    prices: Prices = Prices()
