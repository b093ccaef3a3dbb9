"""The web server's application: one endpoint that predicts, one that says whether it is well, one page to try it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from aidl_jax.serve.batching import Batcher, Busy
from aidl_jax.serve.model import Model, predictions
from aidl_jax.serve.page import page_of
from aidl_jax.serve.requests import MOST_BYTES, Refused, examples_in

__all__ = ["make_app"]


def make_app(model: Model, *, room: int = 1024) -> Starlette:
    """The application that serves a model.

    `POST /predict` answers `{"predictions": [{"class": ..., "probabilities": {...}}]}`, or `{"error": ...}` with a status of 4xx or 5xx;
    `GET /healthz` says that it runs, `GET /model` what it serves, `GET /` is the page.

    Args:
        model: to be asked.
        room: examples that may wait; a request beyond is answered 503.
    """
    batcher = Batcher(model.predict, room=room)
    html, policy = page_of(model.manifest)

    async def predict(request: Request) -> Response:
        examples = examples_in(await _body(request), request.headers.get("content-type", ""), model.manifest)
        logits = await batcher.ask(examples)
        return JSONResponse({"predictions": predictions(logits, model.manifest.class_names)})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": batcher.examples_waiting})

    async def described(request: Request) -> Response:
        return JSONResponse({**asdict(model.manifest), "sha256": model.sha256})

    async def page(request: Request) -> Response:
        return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await batcher.close()

    return Starlette(
        routes=[
            Route("/", page),
            Route("/predict", predict, methods=["POST"]),
            Route("/healthz", health),
            Route("/model", described),
        ],
        exception_handlers={Refused: _refused, Busy: _busy, HTTPException: _http, Exception: _broken},
        lifespan=lifespan,
    )


async def _body(request: Request) -> bytes:
    """The whole body; one that is too large is refused before it is read to its end."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Refused(
                413, "the body is too large", expected=f"at most {MOST_BYTES:,} bytes", fix="send fewer examples"
            )
    return bytes(body)


async def _refused(request: Request, error: Any) -> Response:
    return _error(error.status, str(error))


async def _busy(request: Request, error: Any) -> Response:
    return _error(503, "too many examples wait for an answer. Fix: ask again in a second", {"Retry-After": "1"})


async def _http(request: Request, error: Any) -> Response:
    known = "Fix: POST /predict, GET /, GET /model or GET /healthz"
    return _error(error.status_code, f"{request.method} {request.url.path}: {error.detail}. {known}", error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    return _error(500, "the model failed on this request; what happened is in the server's own log")


def _error(status: int, text: str, headers: Any = None) -> Response:
    return JSONResponse({"error": text}, status, headers)
