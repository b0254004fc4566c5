import NIOCore
import Testing

@testable import AMQP

@Suite("Fields where they lie")
struct RawFieldsTests {
    private static let values: [FieldValue] = [
        .bool(true), .bool(false), .int8(-1), .uint8(255), .int16(-300), .uint16(65_535), .int32(.min),
        .uint32(1 << 31), .int64(.min), .float(1.5), .double(-2.25), .decimal(scale: 2, value: -125),
        .string("é日本"), .string(""), .bytes(ByteBuffer(bytes: [0xFF, 0])), .timestamp(1 << 40), .void,
        .array([.int8(1), .array([.string("x")]), .table(["a": .void])]), .array([]),
        .table(["deep": .table(["er": .bool(true)])]), .table([:]),
    ]

    /// A raw value as the table's own reading gives it: integers and floats have lost their width.
    private static func plain(_ value: RawFieldValue) -> FieldValue {
        switch value {
        case .bool(let value): return .bool(value)
        case .int(let value): return .int64(value)
        case .double(let value): return .double(value)
        case .decimal(let scale, let value): return .decimal(scale: scale, value: value)
        case .longString(let bytes): return .longString(ByteBuffer(bytes: bytes))
        case .bytes(let bytes): return .bytes(ByteBuffer(bytes: bytes))
        case .timestamp(let seconds): return .timestamp(seconds)
        case .void: return .void
        case .array(var values):
            var array = FieldArray()
            while let value = values.nextValue() { array.append(Self.plain(value)) }
            return .array(array)
        case .table(var fields):
            var table = FieldTable()
            while let name = fields.nextName(), let value = fields.nextValue() {
                table.append(String(decoding: name, as: UTF8.self), Self.plain(value))
            }
            return .table(table)
        }
    }

    private static func plain(_ value: FieldValue) -> FieldValue {
        switch value {
        case .float(let value): return .double(Double(value))
        case .array(let values):
            var array = FieldArray()
            values.forEachValue { array.append(Self.plain($0)) }
            return .array(array)
        case .table(let fields):
            var table = FieldTable()
            fields.forEachField { table.append(String(buffer: $0), Self.plain($1)) }
            return .table(table)
        default: return value.int.map(FieldValue.int64) ?? value
        }
    }

    @Test("every kind of value is what the table's own reading gives, in the same order")
    func everyKind() {
        var table = FieldTable()
        for (number, value) in Self.values.enumerated() { table.append("field \(number)", value) }
        var names: [String] = []
        var found: [FieldValue] = []
        table.withRawFields { fields in
            var fields = fields
            while let name = fields.nextName(), let value = fields.nextValue() {
                names.append(String(decoding: name, as: UTF8.self))
                found.append(Self.plain(value))
            }
            #expect(fields.count == 0)
        }
        #expect(names == Self.values.indices.map { "field \($0)" })
        #expect(found == Self.values.map(Self.plain))
    }

    @Test("a field is found by its name, the first of several, whatever stands before it")
    func byName() {
        var table = FieldTable()
        for (number, value) in Self.values.enumerated() { table.append("field \(number)", value) }
        table.append("twice", .int8(1))
        table.append("twice", .int8(2))
        table.append("", .int8(3))
        for (number, value) in Self.values.enumerated() { #expect(table["field \(number)"] == value) }
        #expect(table["twice"] == .int8(1))
        #expect(table[""] == .int8(3))
        #expect(table["field"] == nil)
        #expect(FieldTable()["field"] == nil)
    }

    @Test("bytes that end too early give what is whole, and then nothing")
    func cutShort() {
        var table = FieldTable()
        table.append("a", .string("text"))
        table.append("b", .int64(7))
        let bytes = Array(table.encoded.readableBytesView)
        for length in bytes.indices {
            bytes[..<length].withUnsafeBytes { bytes in
                var fields = RawFields(bytes)
                var count = 0
                while fields.nextName() != nil, fields.nextValue() != nil { count += 1 }
                #expect(count == (length < 11 ? 0 : 1))
            }
        }
    }

    @Test("properties are values: a copy keeps what it was when the other is changed")
    func propertiesAreValues() {
        let original = BasicProperties(contentType: "text/plain", priority: 3)
        var copy = original
        copy.priority = 4
        copy.headers = ["a": .void]
        #expect(original == BasicProperties(contentType: "text/plain", priority: 3))
        #expect(copy == BasicProperties(contentType: "text/plain", headers: ["a": .void], priority: 4))
        copy.priority = 3
        copy.headers = nil
        #expect(copy == original)
    }
}
