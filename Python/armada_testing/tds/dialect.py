"""From the part of Transact-SQL that the tests speak to SQLite's SQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .errors import SQLError
from .types import INT, TEXT, SQLType

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<string>[Nn]?'(?:[^']|'')*')
      | (?P<name>\[(?:[^\]]|\]\])*\]|"(?:[^"]|"")*"|@{0,2}\#{0,2}[^\W\d][\w@#$]*)
      | (?P<binary>0[xX][0-9a-fA-F]*)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<symbol><>|<=|>=|!=|\|\||[-+*/%(),;.=<>&|^~?])""",
    re.VERBOSE | re.DOTALL,
)

# Stored columns are declared so, that SQLite keeps values as they were given and still tells the type.
_COLUMN = "BLOB "
# After these a SELECT on a new line goes on with the same statement.
_JOINING = ("UNION", "ALL", "EXCEPT", "INTERSECT", "AS")


@dataclass
class Token:
    kind: str
    text: str
    line: int

    @property
    def word(self) -> str:
        """For keywords: in capitals; for all else, nothing."""
        return self.text.upper() if self.kind == "name" and self.text[0] not in '["' else ""


@dataclass
class Statement:
    """One statement of a batch, its tokens without space and comments."""

    tokens: list[Token]

    @property
    def line(self) -> int:
        return self.tokens[0].line

    def starts(self, *words: str) -> bool:
        return [token.word for token in self.tokens[: len(words)]] == list(words)

    def text_at(self, index: int) -> str:
        """The string literal at `index`."""
        token = self.tokens[index] if index < len(self.tokens) else None
        if token is None or token.kind != "string":
            raise SQLError(102, f"Incorrect syntax near '{token.text if token else ''}'.", severity=15)
        return literal(token)


@dataclass
class Translated:
    sql: str
    # What the select list tells of types and names: by position, where it tells any.
    types: list[SQLType | None] = field(default_factory=list)
    names: list[str] | None = None


def literal(token: Token) -> str:
    return token.text[token.text.index("'") + 1 : -1].replace("''", "'")


def statements(batch: str) -> list[Statement]:
    """Cuts a batch at its semicolons, and where a line begins with a statement's first word."""
    found: list[Statement] = []
    current: list[Token] = []
    depth = 0
    for token in _tokens(batch):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == ";" and depth <= 0:
            if current:
                found.append(Statement(current))
            current = []
            continue
        if current and depth == 0 and _begins(current, token):
            found.append(Statement(current))
            current = []
        current.append(token)
    if current:
        found.append(Statement(current))
    return found


def _begins(current: list[Token], token: Token) -> bool:
    first, count = current[0].word, len(current)
    if first == "SET" and count >= 3:
        return token.word in ("SET", "USE", "SELECT")
    if first == "WAITFOR" and count == 3:
        return True
    return (
        token.line > current[-1].line
        and first not in ("IF", "WITH")
        and (
            token.word in ("UPDATE", "DELETE", "BEGIN", "COMMIT", "ROLLBACK", "RAISERROR", "PRINT", "THROW", "WAITFOR")
            or (token.word == "INSERT" and first != "MERGE")
            or (token.word == "SELECT" and first not in ("INSERT", "CREATE") and current[-1].word not in _JOINING)
        )
    )


def _tokens(batch: str) -> Iterator[Token]:
    at, line = 0, 1
    while at < len(batch):
        match = _TOKEN.match(batch, at)
        if match is None:
            if batch[at] == "'" or batch[at : at + 2] in ("N'", "n'"):
                raise SQLError(105, "Unclosed quotation mark after the character string.", severity=15, line=line)
            raise SQLError(102, f"Incorrect syntax near '{batch[at]}'.", severity=15, line=line)
        if match.lastgroup != "space":
            yield Token(match.lastgroup or "", match[0], line)
        line += match[0].count("\n")
        at = match.end()


class Translator:
    """Translates one statement.

    `variable` gives the type of a parameter, `columns` those of a table's columns by name, `function` the value of
    `@@…` and of the functions that a session has.
    """

    def __init__(
        self,
        variable: Callable[[str], SQLType | None],
        columns: Callable[[str], dict[str, SQLType]],
        system: Callable[[str], str | None],
    ) -> None:
        self._variable = variable
        self._columns = columns
        self._system = system

    def translate(self, statement: Statement) -> Translated:
        tokens = statement.tokens
        if statement.starts("CREATE", "TABLE"):
            return Translated(self._create_table(tokens))
        output = self._take_output(tokens)
        tokens, limit = self._take_top(output[0])
        result = Translated("")
        if tokens and tokens[0].word == "SELECT":
            items = self._items(tokens)
            result.types = [self._type(item) for item in items]
            if all(not (len(item) == 1 and item[0].text == "*") for item in items):
                result.names = [self._name(item) for item in items]
        result.sql = self._sql(tokens) + limit
        if output[1]:
            table = next(token for token in tokens[1:] if token.kind == "name" and token.word not in ("INTO", "FROM"))
            known = self._columns(_bare(table.text))
            names = [_bare(token.text) for token in output[1] if token.kind == "name"]
            result.types = [known.get(name.lower()) for name in names]
            result.sql += " RETURNING " + ", ".join(f'"{name}"' for name in names)
        return result

    def _take_output(self, tokens: list[Token]) -> tuple[list[Token], list[Token]]:
        """`OUTPUT inserted.a, inserted.b`, which SQLite has at the end, as RETURNING."""
        at = next((index for index, token in enumerate(tokens) if token.word == "OUTPUT"), None)
        if at is None or tokens[0].word not in ("INSERT", "UPDATE", "DELETE"):
            return tokens, []
        end = at + 1
        while end < len(tokens) and tokens[end].word not in ("VALUES", "SELECT", "WHERE", "FROM"):
            end += 1
        names = [token for token in tokens[at + 1 : end] if token.word not in ("INSERTED", "DELETED")]
        return tokens[:at] + tokens[end:], names

    def _take_top(self, tokens: list[Token]) -> tuple[list[Token], str]:
        if len(tokens) < 3 or tokens[0].word != "SELECT" or tokens[1].word != "TOP":
            return tokens, ""
        if tokens[2].text == "(":
            return [tokens[0], *tokens[5:]], f" LIMIT {tokens[3].text}"
        return [tokens[0], *tokens[3:]], f" LIMIT {tokens[2].text}"

    def _items(self, tokens: list[Token]) -> list[list[Token]]:
        items: list[list[Token]] = [[]]
        depth = 0
        for token in tokens[1:]:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0 and token.word in ("FROM", "UNION", "WHERE", "ORDER"):
                break
            if depth == 0 and token.text == ",":
                items.append([])
            elif token.word not in ("DISTINCT", "ALL"):
                items[-1].append(token)
        if not all(items):
            raise SQLError(102, f"Incorrect syntax near '{tokens[min(1, len(tokens) - 1)].text}'.", severity=15)
        return items

    def _name(self, item: list[Token]) -> str:
        last = item[-1]
        if len(item) >= 3 and item[-2].word == "AS" and last.kind == "name":
            return _bare(last.text)
        is_column = last.kind == "name" and all(token.kind == "name" or token.text == "." for token in item)
        return _bare(last.text) if is_column and last.word not in ("NULL",) and last.text[0] != "@" else ""

    def _type(self, item: list[Token]) -> SQLType | None:
        if len(item) >= 3 and item[-2].word == "AS" and item[-1].kind == "name":
            item = item[:-2]
        sign = 1 if item and item[0].text in "+-" else 0
        if len(item) == 1 + sign:
            token = item[sign]
            if token.kind == "number":
                return _type_of_number(token.text)
            if token.kind == "string":
                size = max(1, len(literal(token)))
                if token.text[0] in "Nn":
                    return SQLType("nvarchar", size=size if size <= 4000 else -1)
                return SQLType("varchar", size=size if size <= 8000 else -1)
            if token.kind == "binary":
                size = max(1, (len(token.text) - 2) // 2)
                return SQLType("varbinary", size=size if size <= 8000 else -1)
            if token.text.startswith("@@") or token.word == "NULL":
                return TEXT if token.word == "@@VERSION" else INT
            if token.text.startswith("@"):
                return self._variable(token.text)
        if item and item[0].word in ("CAST", "CONVERT") and item[-1].text == ")" and _is_one_call(item):
            return SQLType.parse(_join(self._cast(item)[1]))
        return None

    def _cast(self, item: list[Token]) -> tuple[list[Token], list[Token]]:
        """The expression and the type's tokens of `CAST(… AS type)` or `CONVERT(type, …)`."""
        inner = item[2:-1]
        depth = 0
        for index, token in enumerate(inner):
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0 and token.word == "AS" and item[0].word == "CAST":
                return inner[:index], inner[index + 1 :]
            if depth == 0 and token.text == "," and item[0].word == "CONVERT":
                return inner[index + 1 :], inner[:index]
        raise SQLError(102, f"Incorrect syntax near '{item[-1].text}'.", severity=15)

    def _sql(self, tokens: list[Token]) -> str:
        parts: list[str] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            following = tokens[at + 1] if at + 1 < len(tokens) else None
            if token.word in ("CAST", "CONVERT") and following is not None and following.text == "(":
                end = _closing(tokens, at + 1)
                expression, kind = self._cast(tokens[at : end + 1])
                # The type shapes the value when it is sent; inside of an expression the value is used as it is.
                parts.append(f"({self._sql(expression)})" if kind else "")
                at = end + 1
                continue
            if token.word == "DBO" and following is not None and following.text == ".":
                at += 2
                continue
            parts.append(self._one(token, parts, following))
            at += 1
        return " ".join(parts)

    def _one(self, token: Token, parts: list[str], following: Token | None) -> str:
        if token.kind == "string":
            return "'" + token.text[token.text.index("'") + 1 :]
        if token.kind == "binary":
            return f"x'{token.text[2:]}'"
        if token.kind == "number":
            return f"'{token.text}'" if "." in token.text and "e" not in token.text.lower() else token.text
        if token.kind == "name":
            system = self._system(token.word) if token.word else None
            if system is not None:
                return system
            if token.text[0] == "#":
                return f'"{token.text}"'
            return {"ISNULL": "ifnull", "LEN": "length", "DATALENGTH": "datalength"}.get(token.word, token.text)
        if token.text == "+" and (
            (following is not None and following.kind == "string") or (parts and parts[-1].endswith("'"))
        ):
            return "||"
        if token.text == "-" and following is not None and following.kind == "number" and "." in following.text:
            # A decimal is text here, with its sign.
            following.text = f"-{following.text}"
            return "" if not parts or parts[-1] in ("(", ",", "=", "SELECT") else "+"
        return token.text

    def _create_table(self, tokens: list[Token]) -> str:
        opening = next((index for index, token in enumerate(tokens) if token.text == "("), len(tokens) - 1)
        name = _bare(tokens[opening - 1].text)
        columns = [self._column(part) for part in _parts(tokens[opening + 1 : -1])]
        temporary = "TEMP " if name.startswith("#") else ""
        return f'CREATE {temporary}TABLE "{name}" ({", ".join(columns)})'

    def _column(self, tokens: list[Token]) -> str:
        if tokens[0].word in ("PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "CONSTRAINT"):
            return self._sql(tokens)
        end = 2
        if end < len(tokens) and tokens[end].text == "(":
            end = _closing(tokens, end) + 1
        declared = _join(tokens[1:end])
        SQLType.parse(declared)
        rest = tokens[end:]
        if rest and rest[0].word == "IDENTITY":
            rest = rest[_closing(rest, 1) + 1 :] if len(rest) > 1 and rest[1].text == "(" else rest[1:]
            return f'"{_bare(tokens[0].text)}" INTEGER {self._sql(rest)}'
        return f'"{_bare(tokens[0].text)}" "{_COLUMN}{declared}" {self._sql(rest)}'


def declared_type(declaration: str) -> SQLType | None:
    """The type of a stored column, by what SQLite says that it was declared with."""
    if declaration.startswith(_COLUMN):
        return SQLType.parse(declaration.removeprefix(_COLUMN))
    return INT if declaration == "INTEGER" else None


def _type_of_number(text: str) -> SQLType:
    if "e" in text.lower():
        return SQLType("float")
    if "." in text:
        digits = text.replace(".", "").lstrip("0") or "0"
        scale = len(text.partition(".")[2])
        return SQLType("numeric", precision=max(len(digits), scale, 1), scale=scale)
    return INT if int(text) < 1 << 31 else SQLType("numeric", precision=len(text))


def _bare(name: str) -> str:
    if name[0] == "[":
        return name[1:-1].replace("]]", "]")
    return name[1:-1].replace('""', '"') if name[0] == '"' else name


def _join(tokens: list[Token]) -> str:
    return "".join(_bare(token.text) if token.kind == "name" else token.text for token in tokens)


def _closing(tokens: list[Token], opening: int) -> int:
    depth = 0
    for index in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[index].text, 0)
        if depth == 0:
            return index
    raise SQLError(102, f"Incorrect syntax near '{tokens[-1].text}'.", severity=15)


def _is_one_call(item: list[Token]) -> bool:
    return len(item) > 2 and item[1].text == "(" and _closing(item, 1) == len(item) - 1


def _parts(tokens: list[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.text == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
