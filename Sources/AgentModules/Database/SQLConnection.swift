import CFreeTDS
import Marshal
import NIOCore

/// One connection to the SQL Server. Its methods block, but for ``interrupt()``.
///
/// It can be sent to other threads though it is not synchronised: whoever has leased it from the pool is the only one to use it, one call after the other, and what
/// ``interrupt()`` touches is atomic.
final class SQLConnection: @unchecked Sendable {
    private let handle: OpaquePointer
    private var rows: RowEncoder?

    /// What pymssql sets on each connection, so that statements mean the same.
    private static let settings = """
        SET ARITHABORT ON;SET CONCAT_NULL_YIELDS_NULL ON;SET ANSI_NULLS ON;SET ANSI_NULL_DFLT_ON ON;SET ANSI_PADDING ON;\
        SET ANSI_WARNINGS ON;SET CURSOR_CLOSE_ON_COMMIT ON;SET QUOTED_IDENTIFIER ON;SET TEXTSIZE 2147483647
        """

    /// Connects, logs in and sets up the session. FreeTDS must have been loaded.
    init(_ login: SQLLogin) throws(SQLFailure) {
        var failure = cfreetds_message()
        let handle = login.withC { login in
            cfreetds_open(login, &failure)
        }
        guard let handle else { throw withUnsafePointer(to: failure) { SQLFailure($0) } }
        self.handle = handle
        do throws(SQLFailure) {
            _ = try self.execute(Self.settings, seconds: login.seconds)
        } catch {
            cfreetds_close(handle)
            throw error
        }
    }

    func close() { cfreetds_close(self.handle) }

    /// Nothing can be sent any more.
    var isDead: Bool { cfreetds_is_dead(self.handle) != 0 }

    /// An idle connection that the other side has closed, as far as this side knows; sends nothing.
    var isStale: Bool { cfreetds_is_stale(self.handle) != 0 }

    /// Sends a batch and waits for the first result that has columns.
    /// - Parameters:
    ///   - batch: without a NUL.
    ///   - seconds: for all of it, its rows included; 0 for no limit.
    /// - Returns: the kinds of the columns, for Python; `nil` when the batch has no such result, and is over.
    func execute(_ batch: String, seconds: Int) throws(SQLFailure) -> String? {
        let count = cfreetds_execute(self.handle, batch, Int32(clamping: seconds))
        guard count != CFREETDS_FAILED else { throw self.failure }
        guard count > 0 else { return nil }
        let rows = RowEncoder(handle: self.handle, columns: Int(count))
        self.rows = rows
        return rows.kinds
    }

    /// The next rows as a list of tuples, of about `size` bytes; `nil` after the last.
    func nextRows(size: Int) throws(SQLFailure) -> PythonValue? {
        guard let rows = self.rows else { return nil }
        var outcome: Result<Int, SQLFailure> = .success(0)
        let part = PythonValue { writer in
            let list = writer.openList()
            outcome = self.write(rows, size: size, to: &writer)
            writer.closeList(list, count: (try? outcome.get()) ?? 0)
        }
        return try outcome.get() > 0 ? part : nil
    }

    /// - Returns: how many rows.
    private func write(_ rows: RowEncoder, size: Int, to writer: inout MarshalWriter) -> Result<Int, SQLFailure> {
        var count = 0
        while writer.buffer.readableBytes < size {
            switch cfreetds_next_row(self.handle) {
            case CFREETDS_FAILED:
                self.rows = nil
                return .failure(self.failure)
            case 0:
                self.rows = nil
                return .success(count)
            default:
                do throws(SQLFailure) { try rows.write(to: &writer) } catch { return .failure(error) }
                count += 1
            }
        }
        return .success(count)
    }

    /// Has a call that runs fail soon, at once while it waits for the server's first word, else within a second. From any thread.
    func interrupt() { cfreetds_interrupt(self.handle) }

    /// The connection goes on after an interruption.
    func clearInterrupt() { cfreetds_clear_interrupt(self.handle) }

    /// Drops what is left of a result.
    func cancel() {
        self.rows = nil
        cfreetds_cancel(self.handle)
    }

    private var failure: SQLFailure { SQLFailure(cfreetds_failure(self.handle)) }
}
