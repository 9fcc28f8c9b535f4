"""Takes decisions over HTTP from those who know the token, one at a time; must not know what a decision does."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dashboard.decisions import Desk, Wish
from infra.errors import Invalid, SpringtideError, Unavailable

# A wrong token holds the door for so long, and nobody is heard meanwhile: as many guesses a second, and no more.
WRONG_TOKEN_S: Final = 1.0
# Whoever comes while so many wait is sent away at once; a crowd of guesses must not fill the memory.
MOST_WAITING: Final = 8
# A wish is a few words.
MOST_BODY_BYTES: Final = 4096


class Door:
    """The way to a desk. For one event loop.

    Args:
        desk: Where decisions are made.
        wrong_token_s: How long a wrong token holds the door.
    """

    def __init__(self, desk: Desk, wrong_token_s: float = WRONG_TOKEN_S) -> None:
        self._desk = desk
        self._wrong_token_s = wrong_token_s
        self._one = asyncio.Lock()
        self._waiting = 0

    async def decide(self, request: Request) -> list[int]:
        """Enters what the request asks for.

        Returns:
            The numbers of the entries in the log.

        Raises:
            HTTPException: 403 where nobody may decide, 401 and 429 for a wrong token and too many, 400 for what is no
                wish, 409 for one that cannot be obeyed, 503 and 500 for a store that does not answer or is damaged.
        """
        if not self._desk.open:
            raise HTTPException(403, "nobody may decide here; cure: set `dashboard.token` in pipeline.yaml")
        await self._pass(request.headers.get("authorization", ""))
        try:
            wish = Wish.of(await _body(request))
        except Invalid as error:
            raise HTTPException(400, str(error)) from None
        try:
            entries = await run_in_threadpool(self._desk.decide, wish)
        except SpringtideError as error:
            code = 409 if isinstance(error, Invalid) else 503 if isinstance(error, Unavailable) else 500
            raise HTTPException(code, str(error)) from None
        return [entry.number for entry in entries]

    async def _pass(self, authorization: str) -> None:
        if self._waiting >= MOST_WAITING:
            raise HTTPException(429, "too many ask at once; cure: try again in some seconds")
        self._waiting += 1
        try:
            async with self._one:
                if not self._desk.knows(authorization):
                    await asyncio.sleep(self._wrong_token_s)
                    raise HTTPException(401, "that is not the token of `dashboard.token`")
        finally:
            self._waiting -= 1


async def _body(request: Request) -> Any:
    """The request's JSON.

    Raises:
        Invalid: It is none, or too long to be a wish.
    """
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MOST_BODY_BYTES:
            raise Invalid("the body is too long", wanted=f"at most {MOST_BODY_BYTES} bytes")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Invalid("the body is no JSON", wanted="action, version, who, why") from None
