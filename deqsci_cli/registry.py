"""Solvers, starts, maps and architectures by name, to which others can be added."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any, Generic, TypeVar, cast

from deqsci_cli.errors import UsageError

T = TypeVar("T")
F = TypeVar("F")


class Registry(dict[str, T], Generic[T]):
    """Things of one kind by their names.

    Args:
        kind: what they are, for errors.
        group: of entry points by which installed packages add to them; None for none.
        homes: the modules that register some of them, imported when these are first asked for.
    """

    def __init__(
        self, kind: str, *, group: str | None = None, homes: Mapping[str, str] | None = None
    ):
        super().__init__()
        self.kind = kind
        self.group = group
        self.homes = dict(homes or {})

    def register(self, name: str) -> Callable[[F], F]:
        """A decorator that adds what it decorates, in this process.

        Args:
            name: by which settings and cards ask for it.

        Raises:
            ValueError: the name is taken. The same definition may be run again, as in a notebook.
        """

        def add(thing: F) -> F:
            home = self.homes.get(name)
            if name not in self and home not in (None, getattr(thing, "__module__", None)):
                import_module(home)
            if name in self and _definition(self[name]) != _definition(thing):
                raise ValueError(f"there is a {self.kind} '{name}' already")
            self[name] = thing  # type: ignore[assignment]
            return thing

        return add

    def names(self) -> list[str]:
        """All names, those of installed packages among them."""
        own = dict.fromkeys((*self.homes, *self))
        return [*own, *sorted(set(self._installed()) - set(own))]

    def check(self, name: str) -> None:
        """Refuse a name that nothing has; nothing is imported.

        Raises:
            UsageError: with the nearest name.
        """
        names = self.names()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = (f"did you mean {near[0]}? " if near else "") + f"one of {', '.join(names)}"
            raise UsageError(f"there is no {self.kind} '{name}'", hint=hint)

    def find(self, name: str) -> T:
        """What has this name.

        Raises:
            UsageError: nothing has it (with the nearest name), or its package cannot be loaded.
        """
        if name not in self:
            self.check(name)
            if name in self.homes:
                import_module(self.homes[name])
            else:
                self[name] = self._load(self._installed()[name])
        return self[name]

    def _load(self, entry: EntryPoint) -> T:
        """What an installed package offers.

        Raises:
            UsageError: its package cannot be loaded.
        """
        try:
            return cast(T, entry.load())
        except Exception as error:  # another package's import may raise anything
            reason = " ".join(str(error).split())[:300]
            raise UsageError(
                f"the {self.kind} '{entry.name}' cannot be loaded: {reason}",
                hint=f"repair or remove the package that offers it, {entry.value}",
            ) from error

    def _installed(self) -> dict[str, EntryPoint]:
        if self.group is None:
            return {}
        return {entry.name: entry for entry in entry_points(group=self.group)}


def named_settings(function: Callable[..., Any], settings: object) -> dict[str, Any]:
    """Those settings whose names the parameters of a function have."""
    names = signature(function).parameters
    return {name: getattr(settings, name) for name in names if hasattr(settings, name)}


def _definition(thing: Any) -> tuple[Any, Any]:
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", thing)
