import Celery
import JSON
public import Logging
public import NIOCore

/// `display.*`: screens of Xvfb's for programs that need one, and pictures of screens.
public struct DisplayModule: AgentModule {
    public let name = "display"
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let authority = DisplayAuthority()
    private let displays = DisplayBook()

    public init(eventLoop: any EventLoop, logger: Logger) {
        self.eventLoop = eventLoop
        self.logger = logger
    }

    public func run() async {
        await self.displays.run()
        self.authority.remove()
    }

    /// - `start(config, display, authority)`: `display` and `authority` are what the caller's environment has as `DISPLAY` and `XAUTHORITY`. A dictionary: `id`
    ///   (`None` for the screen that is there), `display` and `authority` for the environment; for one of our own `width`, `height` and `depth`, too.
    /// - `is_alive(id)`: whether programs can connect.
    /// - `stop(id)`: returns when it has ended.
    /// - `screenshot(id)`, or `screenshot(display, authority)` for a screen that is there: PNG, as bytes.
    ///
    /// Errors: `argument`, `missing` for a program that is not installed, `no_screen`, `start`, `ended`, `screenshot`, `timeout`, `system`.
    public func call(_ method: String, _ arguments: ModuleArguments, reply: ModuleReply) async throws(ModuleError)
        -> PythonValue
    {
        do {
            switch method {
            case "start": return try await self.start(arguments)
            case "is_alive": return .bool(try self.display(arguments)?.isRunning ?? false)
            case "stop":
                try await self.display(arguments)?.stop()
                return .none
            case "screenshot": return .bytes(try await self.screenshot(arguments))
            default: throw ModuleError.unknownMethod("display.\(method)")
            }
        } catch let error as ModuleError {
            throw error
        } catch {
            throw ModuleError("ended", "the display has been stopped meanwhile")
        }
    }

    private func start(_ arguments: ModuleArguments) async throws -> PythonValue {
        let screen = try ScreenConfiguration(try arguments.object("config"))
        guard !screen.isVisible else {
            guard let display = try arguments.optionalString("display"), !display.isEmpty else {
                throw ModuleError(
                    "no_screen",
                    "screen_visible is true, but DISPLAY is not set: start the agent in a desktop's session, or leave screen_visible out for a screen of its own"
                )
            }
            return .json([
                "id": .null, "display": .string(display), "authority": JSON(try arguments.optionalString("authority")),
            ])
        }
        let authority = try self.authority.file()
        let display = VirtualDisplay(
            screen,
            authority: authority,
            owner: arguments.caller.pid,
            on: self.eventLoop,
            logger: self.logger
        )
        guard let id = self.displays.add(display) else { throw CancellationError() }
        let number: Int
        do {
            number = try await display.number()
            try Task.checkCancellation()
        } catch {
            // Nobody would know of it.
            display.giveUp()
            throw error
        }
        return .json([
            "id": .int(Int64(id)), "display": .string(":\(number)"), "authority": .string(authority),
            "width": .int(Int64(screen.width)), "height": .int(Int64(screen.height)),
            "depth": .int(Int64(screen.depth)),
        ])
    }

    private func screenshot(_ arguments: ModuleArguments) async throws -> ByteBuffer {
        guard arguments["id"] != nil else {
            let authority = try arguments.optionalString("authority")
            return try await Screenshot(display: try arguments.string("display"), authority: authority)
                .take(on: self.eventLoop)
        }
        guard let display = try self.display(arguments) else { throw CancellationError() }
        let number = try self.number(of: display)
        do {
            return try await Screenshot(display: ":\(number)", authority: try self.authority.file())
                .take(on: self.eventLoop)
        } catch let error as ModuleError where error.kind == "screenshot" {
            // Of a screen that ended in the middle, its own words say more.
            _ = try self.number(of: display)
            throw error
        }
    }

    private func number(of display: VirtualDisplay) throws(ModuleError) -> Int {
        switch display.phase {
        case .starting: throw ModuleError("start", "the display is not ready yet")
        case .running(let number): return number
        case .ended(let reason): throw ModuleError("ended", "\(reason); start() gives a new one")
        }
    }

    /// `nil` where there is none any more.
    private func display(_ arguments: ModuleArguments) throws(ModuleError) -> VirtualDisplay? {
        guard let id = arguments["id"]?.int else {
            throw .argument("id", found: arguments["id"]?.kind ?? "nothing", expected: "a number")
        }
        return self.displays[id]
    }
}
