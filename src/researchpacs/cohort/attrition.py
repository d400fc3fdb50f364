"""How many patients, studies and series each filter left: counted when a cohort is frozen, drawn as a flow chart."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from researchpacs.search import Search

if TYPE_CHECKING:
    import pandas as pd

    from researchpacs.catalog import Catalog
    from researchpacs.cohort._members import Member

__all__ = ["Attrition", "Step", "flow_of"]

_NOUNS = ("patients", "studies", "series")
_KEYS = {
    "patient": ("patient_key",),
    "study": ("patient_key", "StudyInstanceUID"),
    "series": ("patient_key", "StudyInstanceUID", "SeriesInstanceUID"),
}
_COUNT = """
select
    count(distinct patient_key), count(distinct (patient_key, StudyInstanceUID)), count(*)
from series semi join ({found}) as found using ({keys})
"""

# Pixels of the drawing.
_WIDTH, _HEIGHT, _GAP, _MARGIN = 420, 46, 22, 8


@dataclass(frozen=True, slots=True)
class Step:
    """What was left after a filter."""

    step: str
    patients: int
    studies: int
    series: int


class Attrition:
    """The way from all that was in the archive to the members of a cohort; shown as a flow chart."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)

    def df(self) -> "pd.DataFrame":
        """One row per step: step, patients, studies, series."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.steps], columns=["step", *_NOUNS])

    @property
    def svg(self) -> str:
        """The flow chart as SVG."""
        height = len(self.steps) * (_HEIGHT + _GAP) - _GAP + 2 * _MARGIN
        parts = [_box(one, at) for at, one in enumerate(self.steps)]
        parts += [
            _arrow(at, before, after)
            for at, (before, after) in enumerate(zip(self.steps, self.steps[1:], strict=False))
        ]
        title = f"<title>{escape(repr(self))}</title>"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 2 * _MARGIN}" height="{height}" role="img" '
            f'font-family="sans-serif" font-size="13">{title}{"".join(parts)}</svg>'
        )

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return "\n".join(f"{one.step}: {_counted(one)}" for one in self.steps)


def flow_of(source: object, catalog: "Catalog", members: Sequence["Member"]) -> list[Step]:
    """Count what each filter of a search leaves; of other sources, what there is and what was chosen."""
    found = (
        [_step(label, search, catalog) for label, search in source.narrowing()] if isinstance(source, Search) else []
    )
    everything = found or [
        _step("in the archive", Search(catalog, "series", {}, as_handle=lambda _, row: row), catalog)
    ]
    chosen = Step(
        "frozen",
        len({one.patient_key for one in members}),
        len({one.identity[:2] for one in members}),
        len(members),
    )
    return [*everything, chosen]


def _step(label: str, search: Search[Any], catalog: "Catalog") -> Step:
    keys = ", ".join(f'"{name}"' for name in _KEYS[search.level])
    ((patients, studies, series),) = catalog.sql(_COUNT.format(found=search.sql, keys=keys)).fetchall()
    return Step(label, patients, studies, series)


def _box(step: Step, at: int) -> str:
    top = _MARGIN + at * (_HEIGHT + _GAP)
    label = step.step if len(step.step) <= 52 else f"{step.step[:51]}\u2026"
    middle = _MARGIN + _WIDTH // 2
    return (
        f'<rect x="{_MARGIN}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="none" stroke="currentColor"/>'
        f'<text x="{middle}" y="{top + 19}" text-anchor="middle" fill="currentColor">{escape(label)}</text>'
        f'<text x="{middle}" y="{top + 37}" text-anchor="middle" fill="currentColor">{escape(_counted(step))}</text>'
    )


def _arrow(at: int, before: Step, after: Step) -> str:
    top = _MARGIN + at * (_HEIGHT + _GAP) + _HEIGHT
    middle, bottom = _MARGIN + _WIDTH // 2, top + _GAP
    gone = before.series - after.series
    note = f"\u2212 {gone} series" if gone else "none left out"
    return (
        f'<path d="M{middle} {top}V{bottom}m-4 -6l4 6l4 -6" fill="none" stroke="currentColor"/>'
        f'<text x="{middle + 12}" y="{top + 16}" fill="currentColor" opacity="0.7">{escape(note)}</text>'
    )


def _counted(step: Step) -> str:
    return ", ".join(f"{getattr(step, noun)} {noun}" for noun in _NOUNS)
