"""The hub: one MCP server that federates many."""

from typing import Final

VERSION: Final = "0.1.0"
