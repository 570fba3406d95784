"""Whether a statement may write, and so must go to the primary. Pure.

What a writing statement touches is `tracking.dml`'s affair.
"""

from __future__ import annotations

from sqlalchemy import Executable
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import ForUpdateArg, SelectBase, TextualSelect
from sqlalchemy.sql.visitors import ExternallyTraversible

READING_FUNCTIONS = frozenset(
    """
    count sum min max avg every bool_and bool_or stddev stddev_pop stddev_samp variance var_pop
        var_samp corr
    array_agg string_agg json_agg jsonb_agg json_object_agg jsonb_object_agg group_concat
        aggregate_strings mode
    percentile_cont percentile_disc grouping row_number rank dense_rank percent_rank cume_dist
        ntile lag lead
    first_value last_value nth_value coalesce nullif greatest least abs ceil ceiling floor round
        trunc mod power
    sqrt sign exp ln log width_bucket lower upper initcap length char_length character_length
        octet_length
    concat concat_ws substr substring left right trim ltrim rtrim btrim lpad rpad replace translate
        reverse
    repeat position strpos instr split_part starts_with regexp_replace regexp_match regexp_matches
        regexp_like
    regexp_count string_to_array array_to_string format md5 sha256 encode decode to_char to_number
        to_date
    to_timestamp ascii chr hex unistr similarity word_similarity now current_timestamp current_date
        current_time
    localtime localtimestamp transaction_timestamp statement_timestamp clock_timestamp date_trunc
        date_part
    date_bin age make_date make_timestamp make_interval date datetime strftime julianday unixepoch
        timezone cast
    convert unnest generate_series array_length array_position array_remove array_append
        cardinality any all
    some array jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_extract_path
    jsonb_extract_path_text jsonb_path_query jsonb_path_exists jsonb_build_object json_build_object
    jsonb_build_array json_build_array jsonb_object_keys jsonb_typeof to_json to_jsonb json_extract
        json_each
    row_to_json to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery
        ts_rank ts_rank_cd
    ts_headline lower_inc upper_inc isempty int4range int8range numrange tsrange tstzrange
        daterange random
    gen_random_uuid cube rollup grouping_sets tuple row exists
    """.split()  # noqa: SIM905 - a hundred quotes would hide the names
)
"""Functions that are known to change nothing, by their names in lower case."""

_TEXTS = frozenset({"textclause", "tstring"})


def writes(statement: Executable) -> bool:
    """Whether the statement may change rows, lock them, or call what might: anything that is not
    surely a read.

    Surely reads are selects of expressions whose functions are all in `READING_FUNCTIONS`, without
    FOR UPDATE or writing CTEs. A whole statement given as text is never one; a fragment of text is,
    if it calls nothing.
    """
    if not isinstance(statement, SelectBase):
        return True
    return any(map(_may_write, visitors.iterate(statement)))


def _may_write(element: ExternallyTraversible) -> bool:
    if isinstance(element, UpdateBase | ForUpdateArg | TextualSelect):
        return True
    if isinstance(element, FunctionElement):
        # A schema's functions are its own: `app.count()` is not `count()`. So are the classes of
        # somebody else.
        packages = set(getattr(element, "packagenames", ()))
        strange = bool(packages - {"pg_catalog"}) or not type(element).__module__.startswith(
            "sqlalchemy."
        )
        return strange or str(getattr(element, "name", "")).lower() not in READING_FUNCTIONS
    if element.__visit_name__ in _TEXTS:
        return not isinstance(element, TextClause) or "(" in element.text
    return isinstance(element, ColumnClause) and element.is_literal and "(" in element.name
