"""What a series is as a whole, from the rows of ``geometry``: several volumes are ``multiple_stacks``."""

from researchpacs.catalog._lake import NAME

__all__ = ["SERIES_GEOMETRY"]

_OF_SERIES = "patient_key, StudyInstanceUID, SeriesInstanceUID"
_TURNED = "list_transform(orientation, cosine -> round(cosine, 2) + 0)"
_MEASURED = ("shape", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm", "spacing_error_mm", "affine_lps")
SERIES_GEOMETRY = f"""
select
    {_OF_SERIES},
    case when max(volume) = 0 then arg_min(kind, stack) else 'multiple_stacks' end as kind,
    case
        when max(volume) = 0 then arg_min(reasons, stack)
        else ['multiple_stacks']
            || case when count(distinct {_TURNED}) > 1 then ['mixed_orientation'] else [] end
            || list_sort(list_filter(
                list_distinct(flatten(list(reasons))), reason -> reason not in ('multiple_stacks', 'single_slice')
            ))
    end as reasons,
    max(volume) = 0 and bool_and(is_volume) as is_volume,
    {", ".join(f"arg_min({name}, stack) as {name}" for name in _MEASURED)},
    count(*)::integer as stack_count
from {NAME}.main.geometry
group by {_OF_SERIES}
"""  # noqa: S608 - our names
"""One row per series; what is measured is that of its first stack."""
