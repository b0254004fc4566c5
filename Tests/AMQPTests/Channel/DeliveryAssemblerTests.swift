import NIOCore
import Testing

@testable import AMQP

@Suite("Delivery assembler")
struct DeliveryAssemblerTests {
    private static let deliver = Method.basicDeliver(
        Method.Deliver(consumerTag: "c", deliveryTag: 1, redelivered: false, exchange: "", routingKey: "q")
    )

    private static func header(_ size: UInt64) -> Frame.ContentHeader {
        Frame.ContentHeader(bodySize: size, properties: BasicProperties(type: "t"))
    }

    @Test("an empty body needs no body frame")
    func empty() throws {
        var assembler = DeliveryAssembler()
        try assembler.announced(Self.deliver)
        let content = try assembler.header(Self.header(0))
        #expect(content?.method == Self.deliver)
        #expect(content?.properties.type == "t")
        #expect(content?.body.readableBytes == 0)
        #expect(assembler.isIdle)
    }

    @Test("a body in any number of pieces", arguments: [1, 2, 3, 7, 100])
    func pieces(_ count: Int) throws {
        let whole = ByteBuffer(bytes: (0..<1000).map { UInt8(truncatingIfNeeded: $0) })
        var assembler = DeliveryAssembler()
        for _ in 0..<2 {
            try assembler.announced(Self.deliver)
            #expect(try assembler.header(Self.header(1000)) == nil)
            var rest = whole
            var content: DeliveryAssembler.Content?
            while let piece = rest.readSlice(length: min(max(1000 / count, 1), rest.readableBytes)),
                piece.readableBytes > 0
            {
                #expect(content == nil, "complete too early")
                content = try assembler.body(piece)
            }
            #expect(content?.body == whole)
            #expect(assembler.isIdle)
        }
    }

    @Test("a piece that goes beyond the announced size is refused")
    func tooMuch() throws {
        var assembler = DeliveryAssembler()
        try assembler.announced(Self.deliver)
        _ = try assembler.header(Self.header(3))
        _ = try assembler.body(ByteBuffer(string: "ab"))
        #expect(throws: AMQPError.self) { try assembler.body(ByteBuffer(string: "cd")) }
    }

    @Test("frames out of their order are refused")
    func order() throws {
        var assembler = DeliveryAssembler()
        #expect(throws: AMQPError.self) { try assembler.header(Self.header(1)) }
        #expect(throws: AMQPError.self) { try assembler.body(ByteBuffer(string: "a")) }
        try assembler.announced(Self.deliver)
        #expect(throws: AMQPError.self) { try assembler.announced(Self.deliver) }
        #expect(throws: AMQPError.self) { try assembler.body(ByteBuffer(string: "a")) }
        _ = try assembler.header(Self.header(2))
        #expect(throws: AMQPError.self) { try assembler.header(Self.header(1)) }
        #expect(throws: AMQPError.self) { try assembler.announced(Self.deliver) }
    }

    @Test("a header's word alone takes no memory")
    func hugeAnnouncement() throws {
        var assembler = DeliveryAssembler()
        try assembler.announced(Self.deliver)
        _ = try assembler.header(Self.header(UInt64(Int.max)))
        #expect(try assembler.body(ByteBuffer(string: "a")) == nil)
    }
}
