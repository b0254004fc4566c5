import AsyncHTTPClient
import JSON
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Why there is no answer.
enum HTTPFailure: Error, Sendable, Equatable {
    /// None came within this time.
    case timeout(Duration)
    /// In words for people.
    case network(String)
    /// The server was asked to answer with less.
    case tooLarge(limit: Int)
    /// Whoever wanted it is gone.
    case cancelled

    init(_ error: any Error, limits: ModuleHTTPClient.Limits) {
        switch error {
        case let failure as HTTPFailure: self = failure
        case is CancellationError: self = .cancelled
        case is NIOTooManyBytesError: self = .tooLarge(limit: limits.body)
        case let error as HTTPClientError: self.init(error, limits: limits)
        case let error as NIOConnectionError: self = .network(Self.text(error))
        case let error as NIOSSLError: self = .network(TLSFailure.text(error))
        default: self = .network("\(error)")
        }
    }

    private init(_ error: HTTPClientError, limits: ModuleHTTPClient.Limits) {
        switch error {
        case .connectTimeout, .tlsHandshakeTimeout: self = .timeout(limits.connect)
        case .deadlineExceeded, .readTimeout, .getConnectionFromPoolTimeout: self = .timeout(limits.total)
        case .cancelled, .alreadyShutdown: self = .cancelled
        case .remoteConnectionClosed: self = .network("the server has closed the connection")
        default: self = .network(error.shortDescription)
        }
    }

    private static func text(_ error: NIOConnectionError) -> String {
        if let first = error.connectionErrors.first { return "\(first.error)" }
        return "the host name \(error.host) can't be resolved"
    }

    /// The error of a call that needed the answer.
    /// - Parameter request: what was asked for.
    func moduleError(_ request: HTTPModuleRequest) -> ModuleError {
        switch self {
        case .timeout(let limit):
            ModuleError("timeout", "timeout: no answer to \(request.description) within \(limit.shown)")
        case .network(let text): ModuleError("network", "network error: \(request.description): \(text)")
        case .tooLarge(let limit):
            ModuleError("answer", "the answer to \(request.description) is longer than \(limit >> 20) MiB")
        case .cancelled: ModuleError("cancelled", "\(request.description) was given up: the agent ends")
        }
    }
}

extension HTTPModuleResponse {
    /// The error of a call that needed another status.
    func moduleError(_ request: HTTPModuleRequest) -> ModuleError {
        ModuleError(
            "status",
            "\(request.description) was answered with \(self.description)",
            details: [
                "status": .int(Int64(self.status.code)),
                "body": .string(String(decoding: self.body.readableBytesView.prefix(64 << 10), as: UTF8.self)),
            ]
        )
    }
}

extension Duration {
    /// In seconds or milliseconds, with their unit.
    var shown: String {
        let milliseconds = self.components.seconds * 1000 + self.components.attoseconds / 1_000_000_000_000_000
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }
}
