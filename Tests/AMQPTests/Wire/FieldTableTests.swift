import NIOCore
import Testing

@testable import AMQP

@Suite("Tables")
struct FieldTableTests {
    static let values: [FieldValue] = [
        .void, .bool(true), .bool(false), .int8(.min), .uint8(.max), .int16(.min), .uint16(.max), .int32(.min),
        .uint32(.max), .int64(.min), .float(1.5), .double(-2.25), .decimal(scale: 2, value: -314), .string("text"),
        .string(""), .longString(ByteBuffer(bytes: [0xFF, 0, 0xFE])), .bytes(ByteBuffer(bytes: [1, 2, 3])),
        .timestamp(.max), .array([]), .array([.int8(1), .string("x"), .array([.void])]), .table([:]),
        .table(["k": .table(["k": .int64(-1)])]),
    ]

    @Test("every type comes back, by name and in order")
    func roundTrip() throws {
        var table = FieldTable()
        for (index, value) in Self.values.enumerated() { table.append("field \(index)", value) }
        var wire = ByteBuffer()
        wire.writeLongString(table.encoded)
        let read = try wire.readTable()
        #expect(read == table)
        for (index, value) in Self.values.enumerated() { #expect(read["field \(index)"] == value) }
        var seen: [FieldValue] = []
        var names: [String] = []
        read.forEachField { name, value in
            names.append(String(buffer: name))
            seen.append(value)
        }
        #expect(seen == Self.values)
        #expect(names == Self.values.indices.map { "field \($0)" })
    }

    @Test("arrays hold every type, in order")
    func arrays() throws {
        var array = FieldArray()
        for value in Self.values { array.append(value) }
        var wire = ByteBuffer()
        wire.writeLongString((["a": .array(array)] as FieldTable).encoded)
        guard case .array(let read) = try wire.readTable()["a"] else {
            Issue.record("no array")
            return
        }
        var seen: [FieldValue] = []
        read.forEachValue { seen.append($0) }
        #expect(seen == Self.values)
    }

    @Test("NaN keeps its bits")
    func notANumber() throws {
        var wire = ByteBuffer()
        wire.writeLongString((["n": .double(.nan)] as FieldTable).encoded)
        guard case .double(let value) = try wire.readTable()["n"] else {
            Issue.record("no double")
            return
        }
        #expect(value.isNaN)
    }

    @Test("conveniences")
    func conveniences() {
        #expect(FieldValue.string("a").string == "a")
        #expect(FieldValue.longString(ByteBuffer(bytes: [0xC3])).string == nil, "not UTF-8")
        #expect(FieldValue.int32(5).string == nil)
        #expect(FieldValue.uint32(.max).int == 4_294_967_295)
        #expect(FieldValue.int8(-1).int == -1)
        #expect(FieldValue.double(1).int == nil)
        #expect(FieldValue.bool(true).bool == true)
        #expect(FieldValue.int8(1).bool == nil)
        let table: FieldTable = ["a": .int8(1), "a": .int8(2), "ab": .int8(3)]
        #expect(table["a"] == .int8(1), "the first of equal names")
        #expect(table["b"] == nil)
        #expect(FieldTable().isEmpty && !table.isEmpty)
    }

    @Test("aliases of RabbitMQ's and other clients' types are understood")
    func aliases() throws {
        #expect(try Self.read("U", [0xFF, 0xFF]) == .int16(-1))
        #expect(try Self.read("L", [0, 0, 0, 0, 0, 0, 0, 5]) == .int64(5))
        #expect(try Self.read("t", [7]) == .bool(true))
    }

    @Test("malformed tables are refused", arguments: malformedTables)
    func malformed(_ bytes: [UInt8]) {
        #expect(throws: AMQPError.self) { try FieldCoding.validateTable(ByteBuffer(bytes: bytes)) }
    }

    static let malformedTables: [[UInt8]] = [
        [1],  // a name that is missing
        [5, 0x61],  // a name beyond the end
        [1, 0x61],  // no value
        [1, 0x61, UInt8(ascii: "?")],  // an unknown type
        [1, 0x61, UInt8(ascii: "I"), 0, 0, 0],  // a value cut short
        [1, 0x61, UInt8(ascii: "S"), 0, 0, 0],  // a length cut short
        [1, 0x61, UInt8(ascii: "S"), 0xFF, 0xFF, 0xFF, 0xFF],  // a text beyond the end
        [1, 0x61, UInt8(ascii: "F"), 0, 0, 0, 9, 0],  // a table beyond the end
        [1, 0x61, UInt8(ascii: "F"), 0, 0, 0, 1, 9],  // a table that is malformed inside
        [1, 0x61, UInt8(ascii: "A"), 0, 0, 0, 2, UInt8(ascii: "s"), 0],  // an array that is malformed inside
        [1, 0x61, UInt8(ascii: "A"), 0, 0, 0, 9],  // an array beyond the end
        [1, 0x61, UInt8(ascii: "D"), 0, 0, 0, 0],  // a decimal cut short
    ]

    @Test("removing fields leaves the others as they were, byte for byte")
    func removal() {
        var table: FieldTable = [
            "a": .uint8(1), "CC": .array([.string("x")]), "a": .void, "b": .table(["a": .bool(true)]),
        ]
        table.remove("a", "CC", "absent")
        #expect(table == ["b": .table(["a": .bool(true)])])
        table.remove("b")
        #expect(table.isEmpty)
    }

    @Test("32 levels may nest, 33 may not", arguments: [true, false])
    func depth(_ usesArrays: Bool) throws {
        func nested(_ levels: Int) -> FieldTable {
            // The outermost table is a level too.
            var value = FieldValue.void
            for _ in 1..<levels { value = usesArrays ? .array([value]) : .table(["k": value]) }
            return ["k": value]
        }
        try FieldCoding.validateTable(nested(32).encoded)
        #expect(throws: AMQPError.self) { try FieldCoding.validateTable(nested(33).encoded) }
        #expect(throws: AMQPError.self) { try FieldCoding.validateTable(nested(5000).encoded) }
    }

    private static func read(_ type: Unicode.Scalar, _ bytes: [UInt8]) throws -> FieldValue? {
        var wire = ByteBuffer()
        wire.writeLongString(ByteBuffer(bytes: [1, 0x61, UInt8(ascii: type)] + bytes))
        return try wire.readTable()["a"]
    }
}
