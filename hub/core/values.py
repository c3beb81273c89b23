"""How values of the hot path are declared: frozen to whoever reads or checks them, and cheap to make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(*, eq: bool = True) -> Callable[[type[T]], type[T]]:
    """A frozen dataclass with slots, for the type checker; at run time nothing stands guard over its fields.

    A guard costs every construction 60 ns a field, 5 us of each call. Nobody assigns: the types forbid it.
    """
    return dataclass(slots=True, eq=eq, unsafe_hash=eq)
