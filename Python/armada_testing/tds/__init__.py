"""A small SQL Server for tests: TDS 7.4 on loopback, SQLite behind it.

It speaks as much Transact-SQL as the tests do (`dialect`), has every type of SQL Server's that a table can have but
`sql_variant` and those of the CLR, encrypts as SQL Server does, and misbehaves on demand.
"""

from .errors import SQLError
from .server import Behaviour, SQLServer

__all__ = ["Behaviour", "SQLError", "SQLServer"]
