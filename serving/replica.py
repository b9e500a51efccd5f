"""What a serving process runs: built once from settings, found again by Ray's ASGI builder.

A module of its own: Ray copies the deployment's class into its workers by value, but imports this.
"""

from __future__ import annotations

from serving.app import App, create_app
from serving.runtime import Runtime
from serving.settings import Settings

_installed: list[App] = []


def application(settings: Settings) -> App:
    """The ASGI application with all that runs behind it.

    Raises:
        HomingError: if a setting is wrong or the champion cannot be loaded.
    """
    token = settings.token()
    runtime = Runtime(settings)
    return create_app(
        runtime.service,
        info=runtime.info,
        token=token,
        max_body_bytes=settings.max_body_bytes,
        threads=settings.threads,
        on_start=runtime.start,
        on_stop=runtime.close,
    )


def install(settings: Settings) -> None:
    """Build this process's application."""
    _installed.append(application(settings))


def installed() -> App:
    """The application that was built last."""
    return _installed[-1]
