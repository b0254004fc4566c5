import NIOSSL

/// Why there is no TLS connection, in words for people; the library's own name the lines of its source.
enum TLSFailure {
    static func text(_ error: NIOSSLError) -> String {
        guard case .handshakeFailed(let reason) = error else { return "\(error)" }
        let text = "\(reason)"
        return text.contains("CERTIFICATE_VERIFY_FAILED")
            ? "the server's certificate is not one that this system's authorities vouch for"
            : "the TLS handshake failed: \(text)"
    }

    static func text(_ error: NIOSSLExtraError) -> String {
        error == .failedToValidateHostname ? "the server's certificate is for another name" : "\(error)"
    }
}
