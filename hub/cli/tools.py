"""`mcp-hub tools`: list and call, as any client does, through the whole pipeline."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from hub.cli.failure import FAILED, USAGE, Failed
from hub.cli.mcp_client import Endpoint
from hub.cli.parser import add_verb
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import note, out, out_json, out_table, plain, waiting
from hub.wire.jsonrpc import Malformed, loads

KEPT: Final = "\n\t"  # of a text that a tool answers with; terminal escapes are not passed on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = add_verb(verbs, "list", "every tool of the endpoint")
    listing.set_defaults(run=_list)
    call = verbs.add_parser(
        "call", help="call one tool", description="Call one tool and print its result; exits 1 when it is an error."
    )
    call.add_argument("name", metavar="NAME", help="its public name, as `tools list` prints it")
    call.add_argument(
        "--args", metavar="JSON", default="{}", help="the arguments as a JSON object; - reads it from standard input"
    )
    call.set_defaults(run=_call)
    for verb in (listing, call):
        add_config(verb)
        add_json(verb)
        verb.add_argument("--endpoint", metavar="NAME", default="", help="NAME of an endpoint /NAME/mcp (else /mcp)")


def _list(args: argparse.Namespace) -> int:
    run = place(args).reach()
    with waiting("waiting for servers that are starting"):
        tools = Endpoint(run, args.endpoint).tools()
    if args.json:
        out_json({"tools": tools})
    else:
        out_table(("TOOL", "DESCRIPTION"), [(tool.get("name"), _first_line(tool)) for tool in tools])
    return 0


def _call(args: argparse.Namespace) -> int:
    arguments = _arguments(args.args)
    run = place(args).reach()
    with waiting(f"waiting for {plain(args.name)}"):
        result = Endpoint(run, args.endpoint, _progress).call(args.name, arguments)
    if args.json:
        out_json(result)
    elif result.get("isError") is not True:
        out(plain(text_of(result), KEPT))
    if result.get("isError") is True:
        raise Failed(plain(text_of(result), KEPT))
    if result.get("resultType", "complete") != "complete":
        note("the tool asks for input that this verb cannot give; call it from a client that can")
        return FAILED
    return 0


def _arguments(given: str) -> dict[str, Any]:
    try:
        found = loads(sys.stdin.buffer.read() if given == "-" else given.encode("utf-8", "surrogateescape"))
    except Malformed as exc:
        raise Failed(f"--args is no JSON: {exc}", USAGE) from exc
    if not isinstance(found, dict):
        raise Failed("""--args must be a JSON object, such as '{"customer_id": "C-1001"}'""", USAGE)
    return found


def _progress(params: Mapping[str, Any]) -> None:
    total = f" of {params['total']}" if "total" in params else ""
    note(plain(f"{params.get('progress')}{total} {params.get('message', '')}".rstrip()))


def text_of(result: Mapping[str, Any]) -> str:
    """A result as text: each block in its turn, what is no text named."""
    blocks = result.get("content")
    told = [_block(block) for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    if not told and "structuredContent" in result:
        told = [json.dumps(result["structuredContent"], indent=2, ensure_ascii=False)]
    return "\n".join(told)


def _block(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "resource_link":
            return f"[{block.get('uri')}]"
        case "resource":
            inner = block.get("resource")
            inner = inner if isinstance(inner, dict) else {}
            return str(inner["text"]) if "text" in inner else f"[{inner.get('uri')}]"
        case kind:
            return f"[{kind} {block.get('mimeType', '')}, {len(str(block.get('data', '')))} characters of base64]"


def _first_line(tool: Mapping[str, Any]) -> str:
    lines = str(tool.get("description") or tool.get("title") or "").strip().splitlines()
    first = lines[0] if lines else ""
    return first if len(first) <= 100 else first[:99] + "…"
