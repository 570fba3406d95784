"""What a text of SQL may do, judged by its words: write, truncate, end a transaction, call
functions.

Owns a scanner that knows comments, strings and quoted names; it does not parse SQL. What the
functions do is `tracking.functions`' affair. Who refuses or declares what was judged:
`transactions.commit_watch` and `tracking.listener`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* )
  | (?P<block> /\* )
  | (?P<string> [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' |
      \$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?(tag)(?P=tag))\$ )
  | (?P<quoted> "(?:[^"]|"")*" | `[^`]*` )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<mark> [;.,()*] )
    """,
    re.VERBOSE | re.DOTALL,
)
_LITERAL = re.compile(
    r"""
    (?P<comment> --[^\n]* )
  | (?P<block> /\* )
  | (?P<literal> \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^'\\]|\\[^']|'')*'
               | \$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?(tag)(?P=tag))\$
               | (?<![\w$]) \.?\d[\w.]* )
  | (?P<quoted> "(?:[^"]|"")*" )
  | (?P<open> ['"] | \$(?:[A-Za-z_]\w*)?\$ )
    """,
    re.VERBOSE | re.DOTALL,
)
"""What a statement's shape is without. `open`: a string without an end, or one whose end depends on
how the server reads a backslash: all that follows may be of it."""
READ = 10_000
"""Characters of a text that its shape is made of."""
_COMMENT_EDGE = re.compile(r"/\*|\*/")

_ENDS = frozenset({"COMMIT", "END", "ABORT"})
_BEGINS = frozenset({"BEGIN", "START"})
_WRITES = frozenset(
    {
        *("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "TRUNCATE", "COPY"),
        *("CALL", "DO", "EXECUTE", "IMPORT", "REFRESH"),
    }
)
_DML = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_NAMES_FOLLOW = frozenset({"AS", "WITH", "RECURSIVE"})
_LOCK_STRENGTH = frozenset({"FOR", "KEY"})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a text may do.

    `ends`: the words by which it would end a transaction, or begin one of its own; empty: neither.
    `writes`: it may change rows. `truncates`: names of the tables that it truncates, without their
    schemas; `cascades`: and of those that refer to them. `only_truncates`: it changes rows in no
    other way.
    """

    ends: str = ""
    writes: bool = False
    truncates: tuple[str, ...] = ()
    cascades: bool = False
    only_truncates: bool = False


def judge(sql: str) -> Judgement:
    """What the text may do; of several statements, what any of them may."""
    statements = list(_statements(sql))
    if statements and statements[0][0] == "CREATE":
        # The body of a function or trigger may hold statements of its own, which are not run now.
        return Judgement()
    ends = next((words for words in map(_ending, statements) if words), "")
    writing = [statement for statement in statements if _may_write(statement)]
    truncating = [statement for statement in writing if statement[0] == "TRUNCATE"]
    return Judgement(
        ends=ends,
        writes=bool(writing),
        truncates=tuple(name for statement in truncating for name in _truncated(statement)),
        cascades=any("CASCADE" in statement for statement in truncating),
        only_truncates=bool(writing) and len(writing) == len(truncating),
    )


def shape(sql: str, longest: int = 300) -> str:
    """The text as a log may have it: in one line of `longest` characters at most, without comments,
    `?` for each string and number. What a client wrote into it does not show, names of tables
    do."""
    sql = sql[:READ]  # a string that is cut has no end, and does not show
    parts: list[str] = []
    position = 0
    while (match := _LITERAL.search(sql, position)) is not None:
        parts.append(sql[position : match.start()])
        position = match.end()
        kind = match.lastgroup
        if kind == "block":
            position = _after_comment(sql, position)
        elif kind == "open":
            parts.append("?")
            position = len(sql)
        elif kind != "comment":
            parts.append(match.group() if kind == "quoted" else "?")
    words = " ".join("".join((*parts, sql[position:])).split())
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


class Calls(NamedTuple):
    """Names before a parenthesis, without their schemas, in lower case: of functions, and words
    that look like one.

    `close`: those with nothing between, which in a text of SQLAlchemy's making are functions, types
    and keywords.
    """

    names: frozenset[str]
    close: frozenset[str]


def calls(sql: str) -> Calls:
    """What the text may call."""
    names, close = set[str](), set[str]()
    before, last, end = "", "", -1
    for match in _tokens(sql):
        part = match.group()
        if (
            part == "("
            and (last[:1] == '"' or _is_word(last))
            and before.upper() not in _NAMES_FOLLOW
        ):
            name = _unquoted(last).lower()
            names.add(name)
            if match.start() == end:
                close.add(name)
        before, last, end = last, part, match.end()
    return Calls(frozenset(names), frozenset(close))


def _is_word(part: str) -> bool:
    return part[:1].isalpha() or part[:1] == "_"


def _tokens(sql: str) -> Iterator[re.Match[str]]:
    """All but comments."""
    position = 0
    while (match := _TOKEN.search(sql, position)) is not None:
        position = match.end()
        if match.lastgroup == "block":
            position = _after_comment(sql, position)
        elif match.lastgroup != "comment":
            yield match


def _statements(sql: str) -> Iterator[Sequence[str]]:
    """The tokens of each statement: words in upper case, quoted names as they are, marks."""
    tokens: list[str] = []
    for match in _tokens(sql):
        kind = match.lastgroup
        if kind == "word":
            tokens.append(match.group().upper())
        elif kind == "quoted":
            tokens.append(match.group())
        elif match.group() == ";":
            if tokens:
                yield tokens
            tokens = []
        elif kind == "mark" and (tokens or match.group() != "("):
            tokens.append(match.group())
    if tokens:
        yield tokens


def _after_comment(sql: str, position: int) -> int:
    """Where a block comment ends; PostgreSQL's may be nested."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)) is not None:
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return len(sql) if depth else position


def _ending(statement: Sequence[str]) -> str:
    verb = statement[0]
    if verb in _ENDS or verb in _BEGINS:
        return verb
    if verb == "ROLLBACK" and "TO" not in statement[1:3]:
        # ROLLBACK TO a savepoint takes changes back that stay recorded here: too much is
        # invalidated, not too little.
        return verb
    if statement[:2] == ["PREPARE", "TRANSACTION"]:
        return "PREPARE TRANSACTION"
    return ""


def _may_write(statement: Sequence[str]) -> bool:
    verb = statement[0]
    if verb == "WITH" or (verb == "EXPLAIN" and ("ANALYZE" in statement or "ANALYSE" in statement)):
        return any(
            word in _DML and not (word == "UPDATE" and statement[index - 1] in _LOCK_STRENGTH)
            for index, word in enumerate(statement)
        )
    return verb in _WRITES


def _truncated(statement: Sequence[str]) -> Iterator[str]:
    """Names of a TRUNCATE, unquoted and without their schemas."""
    words = [word for word in statement[1:] if word not in {"TABLE", "ONLY", "*"}]
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in {"RESTART", "CONTINUE", "CASCADE", "RESTRICT"}:
            return
        if word not in {".", ","} and following != ".":
            yield _unquoted(word) if word[0] in '"`' else word.lower()


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name[0] in '"`' else name
