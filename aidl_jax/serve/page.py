"""The page where a visitor draws: one file with its style and script inside, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

import jinja2

from aidl_jax.serve.artifact import Manifest
from aidl_jax.serve.inputs import takes_pictures

__all__ = ["page_of"]


def page_of(manifest: Manifest) -> tuple[str, str]:
    """The page for a model, and its Content-Security-Policy.

    Args:
        manifest: of the model.

    Source: W3C, Content Security Policy Level 3, sections 2.3.1 (hashes) and 6 (directives).
    """
    css, script = _resource("page.css"), _resource("page.js")
    html = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _resource("page.html.j2")
    )
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.render(manifest=manifest, pictures=takes_pictures(manifest), css=css, script=script), policy


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (resources.files("aidl_jax.serve") / "resources" / name).read_text(encoding="utf-8")
