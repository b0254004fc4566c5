import CeleryWorker
import NIOCore
import PythonPool

/// Metrics in Prometheus's text format (version 0.0.4).
struct MetricsText {
    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private(set) var buffer = ByteBuffer()

    /// A metric with one value.
    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Int) {
        self.add(name, kind, help) { $0.sample(value) }
    }

    /// A metric with any number of samples, which `samples` writes.
    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: (inout Samples) -> Void) {
        self.buffer.writeString("# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n")
        var writer = Samples(name: name, buffer: self.buffer)
        self.buffer = ByteBuffer()
        samples(&writer)
        self.buffer = writer.buffer
    }

    /// The samples of one metric.
    struct Samples {
        let name: String
        fileprivate(set) var buffer: ByteBuffer

        mutating func sample(_ value: Int, _ labels: KeyValuePairs<String, String> = [:]) {
            self.write("", Array(labels), String(value))
        }

        mutating func sample(_ value: Double, _ labels: KeyValuePairs<String, String> = [:]) {
            self.write("", Array(labels), value.description)
        }

        /// A histogram's samples, the ranges adding up as Prometheus wants them.
        mutating func histogram(_ histogram: Histogram, _ labels: [(key: String, value: String)] = []) {
            var count = 0
            for (index, inRange) in histogram.counts.enumerated() {
                count += inRange
                let bound = index < Histogram.bounds.count ? Histogram.bounds[index].description : "+Inf"
                self.write("_bucket", labels + [("le", bound)], String(count))
            }
            self.write("_sum", labels, histogram.sum.description)
            self.write("_count", labels, String(count))
        }

        private mutating func write(_ suffix: String, _ labels: [(key: String, value: String)], _ value: String) {
            self.buffer.writeString(self.name + suffix)
            if !labels.isEmpty {
                let texts = labels.map { "\($0.key)=\"\(MetricsText.escaped($0.value))\"" }
                self.buffer.writeString("{\(texts.joined(separator: ","))}")
            }
            self.buffer.writeString(" \(value)\n")
        }
    }

    /// A label's value: `\`, `"` and line feeds are escaped.
    static func escaped(_ value: String) -> String {
        guard value.utf8.contains(where: { $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "\"") || $0 == 0x0A }) else {
            return value
        }
        return value.unicodeScalars.reduce(into: "") { text, scalar in
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
    }
}
