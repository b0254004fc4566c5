import JSON
import Testing

@testable import AgentModules

@Suite("The database: what a batch leaves in its session")
struct SessionEffectsTests {
    @Test(
        "plain statements leave nothing",
        arguments: [
            "SELECT 1", "  select a, b from t where c = 'USE x' -- exec\n",
            "INSERT INTO t VALUES (N'EXEC #x', 'it''s SET a b')",
            "UPDATE t SET a = 1, b = 2 WHERE c = 3", "UPDATE t SET t.a = 1", "UPDATE [t] SET [a] = 1",
            "UPDATE t SET a += 1",
            "DECLARE @a int; SET @a = 5; SELECT @a", "WITH n AS (SELECT 1 AS a) SELECT a FROM n",
            "MERGE t USING u ON t.a = u.a;",
            "/* EXEC /* USE */ SET x y */ DELETE FROM t", "SELECT \"EXEC\", [USE] FROM t", "CREATE TABLE t (a int)", "",
            "SELECT n'x USE y'", "SET NOCOUNT ON; INSERT INTO t VALUES (1)",
            "IF @@ROWCOUNT = 0 INSERT INTO t VALUES (1)",
        ]
    )
    func nothing(batch: String) {
        #expect(!SessionEffects.mayOutlive(batch))
    }

    @Test(
        "what may be noticed by the next one",
        arguments: [
            "USE master", "SELECT 1; USE [other]", "SET NOCOUNT ON; SET DATEFIRST 1", "SET LOCK_TIMEOUT -1",
            "SET LOCK_TIMEOUT 50",
            "SET TRANSACTION ISOLATION LEVEL SNAPSHOT", "SET IDENTITY_INSERT t ON", "SET IDENTITY_INSERT [t] ON",
            "SET DATEFIRST 1",
            "SELECT a INTO #t FROM u", "SELECT * FROM [#t]", "CREATE TABLE ##t (a int)", "EXEC p", "execute p", "p 1",
            "[p] 1", "sp_who",
            "DECLARE c CURSOR FOR SELECT 1", "BEGIN TRAN", "BEGIN TRANSACTION; SELECT 1", "SELECT 1 COMMIT TRAN",
            "REVERT",
            "DECLARE @a int; EXEC @a = p", "SET LANGUAGE 'Deutsch'", "SET ROWCOUNT",
        ]
    )
    func something(batch: String) {
        #expect(SessionEffects.mayOutlive(batch))
    }
}

@Suite("The database: connections lent")
struct LeaseBookTests {
    private func isFresh(_ grant: LeaseBook<String>.Grant?) -> Bool {
        if case .fresh = grant { return true }
        return false
    }

    private func used(_ grant: LeaseBook<String>.Grant?) -> String? {
        if case .used(let connection) = grant { return connection }
        return nil
    }

    @Test("no more are opened than there may be, and those who wait come in turn")
    func bounded() {
        var book = LeaseBook<String>(capacity: 2)
        #expect(self.isFresh(book.lease(1)))
        #expect(self.isFresh(book.lease(2)))
        #expect(book.lease(3) == nil)
        #expect(book.lease(4) == nil)
        let first = book.giveBack("a", at: 0)
        #expect(first?.waiter == 3)
        #expect(self.used(first?.grant) == "a")
        // One that was closed makes room for a new one.
        let second = book.giveBack(nil, at: 0)
        #expect(second?.waiter == 4)
        #expect(self.isFresh(second?.grant))
        let third = book.giveBack("b", at: 0)
        #expect(third == nil)
        #expect(self.used(book.lease(5)) == "b")
        #expect(book.lease(6) == nil)
    }

    @Test("who gives up is passed over")
    func givingUp() {
        var book = LeaseBook<String>(capacity: 1)
        _ = book.lease(1)
        #expect(book.lease(2) == nil)
        #expect(book.lease(3) == nil)
        let gaveUp = [book.giveUp(2), book.giveUp(2)]
        #expect(gaveUp == [true, false])
        let next = book.giveBack("a", at: 0)
        #expect(next?.waiter == 3)
        let gaveUpLate = book.giveUp(3)
        #expect(!gaveUpLate)
    }

    @Test("the one that was used last is used first; the others grow old")
    func idle() {
        var book = LeaseBook<String>(capacity: 3)
        for waiter in 1...3 { _ = book.lease(waiter) }
        _ = book.giveBack("a", at: 10)
        _ = book.giveBack("b", at: 20)
        _ = book.giveBack("c", at: 30)
        #expect(self.used(book.lease(4)) == "c")
        _ = book.giveBack("c", at: 40)
        let old = book.takeIdle(since: 20)
        #expect(old == ["a", "b"])
        #expect(book.isAnyIdle)
        let all = book.takeIdle(since: .max)
        #expect(all == ["c"])
        #expect(!book.isAnyIdle)
        // What was closed can be opened again.
        for waiter in 5...7 { #expect(self.isFresh(book.lease(waiter))) }
        #expect(book.lease(8) == nil)
    }
}

@Suite("The database: waiting for a connection", .timeLimit(.minutes(1)))
struct DatabasePoolTests {
    @Test("one that is not free in time is not waited for")
    func timeLimit() async {
        let pool = DatabasePool(capacity: 1, idleTime: .seconds(60))
        #expect(await pool.lease(within: .seconds(60)) != nil)
        #expect(await pool.lease(within: .milliseconds(1)) == nil)
        pool.giveBack(nil)
        #expect(await pool.lease(within: .seconds(60)) != nil)
    }

    @Test("a task that is cancelled waits no longer")
    func cancellation() async {
        let pool = DatabasePool(capacity: 1, idleTime: .seconds(60))
        #expect(await pool.lease(within: .seconds(60)) != nil)
        let isGranted = await withTaskGroup(of: Bool.self) { group in
            group.addTask { await pool.lease(within: .seconds(600)) != nil }
            group.cancelAll()
            return await group.next() ?? true
        }
        #expect(!isGranted)
    }

    @Test("who waits is woken")
    func woken() async {
        let pool = DatabasePool(capacity: 1, idleTime: .seconds(60))
        #expect(await pool.lease(within: .seconds(60)) != nil)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    let isGranted = await pool.lease(within: .seconds(60)) != nil
                    pool.giveBack(nil)
                    return isGranted
                }
            }
            pool.giveBack(nil)
            for await isGranted in group { #expect(isGranted) }
        }
    }
}

@Suite("The database: logging in")
struct SQLLoginTests {
    @Test(
        "a server's name, as pymssql and SQL Server write it",
        arguments: [
            ("db.example", "db.example:1433"), ("db.example:99", "db.example:99"), ("db.example,99", "db.example:99"),
            ("db.example, 99", "db.example:99"), ("host\\instance", "host\\instance"), (".", "localhost:1433"),
            ("(local)", "localhost:1433"), ("10.0.0.1", "10.0.0.1:1433"),
        ]
    )
    func names(name: String, server: String) {
        #expect(SQLLogin.server(name, port: 1433) == server)
    }

    @Test("what is missing is named, and nothing that is secret")
    func missing() throws {
        var configuration = SQLServerConfiguration(name: "n", database: "d", user: "u", password: "secret")
        #expect(throws: Never.self) { try SQLLogin(configuration) }
        configuration.user = nil
        let error = #expect(throws: ModuleError.self) { try SQLLogin(configuration) }
        #expect(error?.kind == "configuration")
        #expect(error?.message == "SQL_SERVER_USER: found nothing, expected the user to log in as")
        #expect(error?.details["variable"] == "SQL_SERVER_USER")
    }
}

@Test(
    "Amounts of money, in ten thousandths",
    arguments: [
        (0, "0.0000"), (1, "0.0001"), (-1, "-0.0001"), (12_345_678, "1234.5678"), (-10_000, "-1.0000"),
        (Int64.min, "-922337203685477.5808"), (Int64.max, "922337203685477.5807"),
    ] as [(Int64, String)]
)
func money(amount: Int64, text: String) {
    #expect(RowEncoder.money(amount) == text)
}
