"""Text columns: which are categories, which only name rows, and what the user is told of them."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Sequence

from skvae._table import frames
from skvae._table.levels import hardly_repeats
from skvae._table.tables import Table
from skvae._warnings import warn

MOST_NAMES = 30  # in a warning
PLAIN_LEVELS = 20  # more than so many numbers that came as text are hardly codes


def identifiers(table: Table, spared: Container[Hashable] = ()) -> list[Hashable]:
    """The text columns, but for those `spared`, in which hardly a value repeats."""
    return [name for name, j in _texts(table) if name not in spared and hardly_repeats(table.labels(j)[0])]


def warn_of_texts(table: Table, names: Sequence[Hashable]) -> None:
    """Say that columns of these names are left out of the model, and which text holds numbers or dates."""
    lines = dict[Hashable, str]()
    for name, j in _texts(table):
        line = frames.way_back(table.X, j) if name in names or _has_many(table, j) else None
        lines |= {name: line} if line else {}
    if names:
        others = [name for name in names if name not in lines] or names
        warn(
            f"{_listed(names)} left out of the model, as most cells hold text that no other row has: drawn rows have "
            f"missing cells there. Drop {_it(names)} from X; if {_it(others)} should count, make {_it(others)} "
            f"categories with {_as_categories(table, others)}, or encode {_it(others)} first, for example with skrub's "
            f"TableVectorizer.{_also(lines)}"
        )
    elif lines:
        warn(f"{_listed(list(lines))} read as text.{_also(lines)}")


def _texts(table: Table) -> list[tuple[Hashable, int]]:
    return [(name, j) for j, (name, dtype) in enumerate(zip(table.names, table.dtypes, strict=True)) if dtype.is_text]


def _has_many(table: Table, j: int) -> bool:
    return len(table.labels(j)[1]) > PLAIN_LEVELS


def _also(lines: dict[Hashable, str]) -> str:
    """The lines of code that turn text back into what it holds."""
    if not lines:
        return ""
    each = "; ".join(line.replace("{name}", repr(name)) for name, line in list(lines.items())[:MOST_NAMES])
    names = ", ".join(repr(name) for name in list(lines)[:MOST_NAMES])
    return f" The text of {names} reads as numbers or dates: turn {_it(lines)} back with {each}"


def _listed(names: Sequence[Hashable]) -> str:
    several, more = len(names) > 1, f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    shown = ", ".join(map(repr, names[:MOST_NAMES]))
    return f"Column{'s' if several else ''} {shown}{more} {'are' if several else 'is'}"


def _it(names: Iterable[Hashable]) -> str:
    return "them" if len(list(names)) > 1 else "it"


def _as_categories(table: Table, names: Sequence[Hashable]) -> str:
    shown = names[:MOST_NAMES]
    if table.container == frames.POLARS:
        return f"X.with_columns(pl.col({', '.join(map(repr, shown))}).cast(pl.Categorical))"
    return f"X.astype({dict.fromkeys(shown, 'category')!r})"
