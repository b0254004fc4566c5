import NIOCore

/// The commands that the agent sends.
enum RESPCommand: Sendable {
    /// Holds secrets; its answer's text may repeat them.
    case auth(user: String?, password: String)
    case select(database: Int)
    case get(key: String)

    var name: String {
        switch self {
        case .auth: "AUTH"
        case .select: "SELECT"
        case .get: "GET"
        }
    }

    /// The command as an array of bulk strings.
    func write(to buffer: inout ByteBuffer) {
        let arguments =
            switch self {
            case .auth(let user?, let password): [user, password]
            case .auth(nil, let password): [password]
            case .select(let database): [String(database)]
            case .get(let key): [key]
            }
        buffer.writeString("*\(arguments.count + 1)\r\n")
        for word in [self.name] + arguments {
            buffer.writeString("$\(word.utf8.count)\r\n")
            buffer.writeString(word)
            buffer.writeString("\r\n")
        }
    }
}
