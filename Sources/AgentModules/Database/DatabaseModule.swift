import CFreeTDS
import JSON
public import Logging

/// The user's SQL Server: `database.select`, `database.select_with_commit` and `database.post`, each with a `query`.
///
/// An answer with rows is a part that tells the columns' kinds (``RowEncoder``), then parts with lists of rows, then `None`. A statement is sent once. What may be
/// tried again is only what comes before it: a connection that was idle is looked at, and a transaction begun on it; where that shows it broken, nothing of the
/// call's has been sent, and another connection takes its place. A connection that breaks later fails the call, since nobody knows what the server has done.
public struct DatabaseModule: AgentModule {
    public let name = "database"

    /// How a call's statement is run.
    private enum Mode: Equatable {
        /// In a transaction that is rolled back, as closing a connection of pymssql's does.
        case rolledBack
        case committed
        case autocommit

        init?(method: String) {
            switch method {
            case "select": self = .rolledBack
            case "select_with_commit": self = .autocommit
            case "post": self = .committed
            default: return nil
            }
        }
    }

    /// About as many bytes are sent to Python in one piece.
    private static let partSize = 128 << 10

    private let configuration: SQLServerConfiguration
    private let pool: DatabasePool
    private let logger: Logger

    public init(_ configuration: SQLServerConfiguration, logger: Logger) {
        self.configuration = configuration
        self.pool = DatabasePool(
            capacity: configuration.connections,
            idleTime: .seconds(configuration.idleTimeout)
        )
        self.logger = logger
    }

    public func run() async throws { await self.pool.run() }

    public func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        guard let mode = Mode(method: method) else { throw .unknownMethod("database.\(method)") }
        let query = try arguments.string("query")
        guard !query.utf8.contains(0) else {
            throw .argument("query", found: "a character U+0000", expected: "text that SQL Server takes")
        }
        let login = try SQLLogin(self.configuration)
        let connection = try await self.connection(for: mode, login)
        let outcome = await self.outcome(of: query, on: connection, mode, reply)
        let ending = await self.pool.blocking { self.end(mode, on: connection, succeeded: outcome == nil) }
        await self.giveBack(connection, isClean: ending == nil && !SessionEffects.mayOutlive(query))
        if let failure = outcome ?? (mode == .committed ? ending : nil) { throw failure }
        return .none
    }

    /// A connection on which the statement can be sent.
    private func connection(for mode: Mode, _ login: SQLLogin) async throws(ModuleError) -> SQLConnection {
        while true {
            guard let grant = await self.pool.lease(within: .seconds(self.configuration.connectTimeout)) else {
                throw ModuleError(
                    "exhausted",
                    """
                    all \(self.configuration.connections) connections to the SQL Server were in use for \(self.configuration.connectTimeout) s: \
                    AGENT_SQL_CONNECTIONS, AGENT_SQL_CONNECT_TIMEOUT
                    """
                )
            }
            switch grant {
            case .used(let connection):
                let failure = await self.pool.blocking {
                    connection.isStale ? Self.stale : self.begin(mode, on: connection)
                }
                guard let failure else { return connection }
                self.logger.debug(
                    "an idle connection to the SQL Server was broken",
                    metadata: [LogKeys.error: "\(failure.text)"]
                )
                await self.giveBack(connection, isClean: false)
            case .fresh:
                switch await self.pool.blocking({ self.open(login, for: mode) }) {
                case .success(let connection): return connection
                case .failure(let error):
                    self.pool.giveBack(nil)
                    throw error
                }
            }
        }
    }

    private static let stale = SQLFailure(source: .library, number: 20004, text: "closed by the server")

    private func open(_ login: SQLLogin, for mode: Mode) -> Result<SQLConnection, ModuleError> {
        if let problem = cfreetds_load() {
            return .failure(
                ModuleError(
                    "library",
                    "FreeTDS can't be loaded (\(String(cString: problem))): install Debian's package libsybdb5"
                )
            )
        }
        do throws(SQLFailure) {
            let connection = try SQLConnection(login)
            guard let failure = self.begin(mode, on: connection) else { return .success(connection) }
            connection.close()
            throw failure
        } catch {
            return .failure(error.moduleError(queryTimeout: self.configuration.connectTimeout))
        }
    }

    private func giveBack(_ connection: SQLConnection, isClean: Bool) async {
        if !isClean { await self.pool.blocking { connection.close() } }
        self.pool.giveBack(isClean ? connection : nil)
    }

    // What follows runs on the pool's threads.

    private func begin(_ mode: Mode, on connection: SQLConnection) -> SQLFailure? {
        guard mode != .autocommit else { return nil }
        return self.run("BEGIN TRAN", on: connection)
    }

    /// Ends the transaction. Why the connection, or with `committed` the call, has failed.
    private func end(_ mode: Mode, on connection: SQLConnection, succeeded: Bool) -> ModuleError? {
        connection.clearInterrupt()
        guard !connection.isDead else { return Self.stale.moduleError(queryTimeout: 0) }
        let statement: String? =
            switch mode {
            case .autocommit: nil
            case .committed where succeeded: "COMMIT TRAN"
            case .committed, .rolledBack: "IF @@TRANCOUNT > 0 ROLLBACK TRAN"
            }
        guard let failure = statement.flatMap({ self.run($0, on: connection) }) else { return nil }
        var error = failure.moduleError(queryTimeout: self.configuration.connectTimeout)
        if mode == .committed, failure.source != .server {
            error.message = "whether the statement is committed is not known: \(error.message)"
        }
        return error
    }

    private func run(_ statement: String, on connection: SQLConnection) -> SQLFailure? {
        do throws(SQLFailure) {
            _ = try connection.execute(statement, seconds: self.configuration.connectTimeout)
            return nil
        } catch {
            return error
        }
    }

    // What follows is the call's own task again.

    /// Runs the call's statement and sends its rows.
    /// - Returns: why it has failed.
    private func outcome(
        of query: String,
        on connection: SQLConnection,
        _ mode: Mode,
        _ reply: ModuleReply
    ) async -> ModuleError? {
        await withTaskCancellationHandler {
            do throws(ModuleError) {
                let seconds = self.configuration.queryTimeout
                let kinds = try await self.attempt { () throws(SQLFailure) in
                    try connection.execute(query, seconds: seconds)
                }
                if mode == .committed {
                    // Read to the end, so that all of the batch is run.
                    while try await self.rows(of: connection) != nil {}
                    return nil
                }
                guard let kinds else {
                    throw ModuleError("no_result", "the statement has no result set: expected one that returns rows")
                }
                try await reply.part(.string(kinds))
                while let rows = try await self.rows(of: connection) { try await reply.part(rows) }
                return nil
            } catch {
                await self.pool.blocking { connection.cancel() }
                return error
            }
        } onCancel: {
            connection.interrupt()
        }
    }

    private func rows(of connection: SQLConnection) async throws(ModuleError) -> PythonValue? {
        try await self.attempt { () throws(SQLFailure) in try connection.nextRows(size: Self.partSize) }
    }

    private func attempt<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SQLFailure) -> Value
    ) async throws(ModuleError) -> Value {
        let result = await self.pool.blocking { () -> Result<Value, SQLFailure> in
            do throws(SQLFailure) { return .success(try body()) } catch { return .failure(error) }
        }
        switch result {
        case .success(let value): return value
        case .failure(let failure): throw failure.moduleError(queryTimeout: self.configuration.queryTimeout)
        }
    }
}
