"""The documentation as one page, made of the OpenAPI document: no script, nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

METHODS = ("get", "post", "delete")

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif;
--ground: light-dark(#f7f8f8, #14181a); --card: light-dark(#fff, #1d2326);
--text: light-dark(#1b2326, #e6ebec); --quiet: light-dark(#566268, #9aa7ac);
--line: light-dark(#d8dfe1, #333c40); --accent: light-dark(#0b6e69, #5ecdc4); }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; background: var(--ground); color: var(--text); }
a { color: var(--accent); } h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; text-transform: capitalize; }
pre, details { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
pre { overflow-x: auto; font-size: .85rem; } details { margin: .5rem 0; background: var(--card); }
summary { cursor: pointer; } summary code { font-weight: 600; color: var(--accent); overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; }
th, td { text-align: left; padding: .2rem 1.5rem .2rem 0; vertical-align: top; }
th, .quiet { color: var(--quiet); font-weight: 400; }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
"""


def style_digest() -> str:
    """What a content security policy calls the page's style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"


def render_docs(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    return "".join(_render(document))


def _render(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
    yield f'<p><a href="./">{escape(info["title"])}</a></p>'
    yield f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>"
    yield f"<p>{escape(info.get('description', ''))}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a></p>'
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                by_tag.setdefault(operation.get("tags", ["other"])[0], []).append((method, path, operation))
    for tag, found in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>"
        for method, path, operation in found:
            yield from _render_operation(method, path, operation, document)
    yield "</body></html>"


def _render_operation(
    method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]
) -> Iterator[str]:
    yield f"<details><summary><code>{method.upper()} {escape(path)}</code> "
    yield f"{escape(operation.get('description') or operation.get('summary', ''))}</summary>"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "<table><tr><th>name</th><th>in</th><th>what</th></tr>"
        for each in parameters:
            about = each.get("description") or each.get("schema", {}).get("description", "")
            need = " (needed)" if each.get("required") else ""
            yield f"<tr><td><code>{escape(each['name'])}</code>{need}</td><td>{escape(each['in'])}</td>"
            yield f"<td>{escape(about)}</td></tr>"
        yield "</table>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        example = find_example(content, document)
        if example is not None:
            yield f"<p>Body, {escape(media_type)}</p><pre>{escape(_show(example))}</pre>"
    refused = []
    for status, answer in sorted(operation.get("responses", {}).items()):
        for media_type, content in answer.get("content", {}).items():
            example = find_example(content, document)
            if example is not None and str(status).startswith("2"):
                yield f"<p>{escape(str(status))}, {escape(media_type)}</p><pre>{escape(_show(example))}</pre>"
        if not str(status).startswith("2"):
            refused.append(f"{escape(str(status))} {escape(answer.get('description', ''))}")
    if refused:
        yield f'<p class="quiet">Or: {"; ".join(refused)}</p>'
    yield "</details>"


def find_example(content: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    """The example of a body, from where it is told: beside its schema, or in it. None where there is none."""
    if "example" in content:
        return content["example"]
    for each in content.get("examples", {}).values():
        return each["value"]
    schema = content.get("schema", {})
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for value in schema.get("examples", []):
        return value
    named = {
        name: field["examples"][0]
        for name, field in schema.get("properties", {}).items()
        if field.get("examples")
    }
    return named or None


def _show(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
