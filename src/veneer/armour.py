"""Headers that every answer of a page carries: nothing from outside is loaded, run, framed or told."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def headers(*, scripts: str = "'none'", forms: str = "'self'", frames: str = "'none'") -> dict[str, str]:
    """Return the headers.

    Args:
        scripts: Where scripts may come from, as a source list of a Content-Security-Policy.
        forms: Where forms may be sent.
        frames: Which sites may show the page in a frame.
    """
    policy = {
        "default-src": "'none'",
        "style-src": "'self'",
        "script-src": scripts,
        "img-src": "'self'",
        "form-action": forms,
        "frame-ancestors": frames,
        "base-uri": "'none'",
    }
    found = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }
    if frames == "'none'":
        found["X-Frame-Options"] = "DENY"
    return found


class Armour:
    """Puts the headers on every answer, whatever made it."""

    def __init__(self, app: ASGIApp, carried: Mapping[str, str]) -> None:
        self._app = app
        self._carried = [(name.lower().encode(), value.encode()) for name, value in carried.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the headers."""

        async def armoured(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message.get("headers", [])}
                message["headers"] = [
                    *message.get("headers", []),
                    *((name, value) for name, value in self._carried if name not in own),
                ]
            await send(message)

        await self._app(scope, receive, armoured)
