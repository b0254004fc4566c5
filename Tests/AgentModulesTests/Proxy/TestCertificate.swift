import Glibc
import NIOPosix
import NIOSSL
import Spawning

@testable import AgentModules

/// A certificate for `localhost` and 127.0.0.1 that nobody but itself vouches for.
struct TestCertificate {
    /// Of the certificate, in PEM.
    var path: String
    var server: NIOSSLContext

    struct Failure: Error { var text: String }

    /// - Parameter folder: where it's kept.
    static func make(in folder: String, names: String = "DNS:localhost,IP:127.0.0.1") async throws -> TestCertificate {
        let (key, certificate) = (folder + "/key.pem", folder + "/cert.pem")
        let (lines, exit) = try await ManagedProcess.run(
            ProcessCommand(
                executable: "openssl",
                arguments: [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=\(names)", "-keyout", key, "-out", certificate,
                ],
                environment: ProcessCommand.basicEnvironment,
                remedy: "install Debian's package openssl"
            ),
            on: MultiThreadedEventLoopGroup.singleton.next()
        ) { process in
            _ = try await process.exit()
            return process.lastLines
        }
        guard exit == .code(0) else { throw Failure(text: lines.joined(separator: "\n")) }
        let configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
        )
        return TestCertificate(path: certificate, server: try NIOSSLContext(configuration: configuration))
    }
}

/// A folder for the time of `body`.
func withFolder<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    var template = Array("/tmp/relay-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw TestCertificate.Failure(text: "mkdtemp") }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { for name in ["key.pem", "cert.pem", ""] { _ = remove(folder + "/" + name) } }
    return try await body(folder)
}
