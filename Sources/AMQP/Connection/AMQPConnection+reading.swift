import Logging
import NIOCore

/// Whether to read from the socket: not while a consumer can't keep up, unless somebody waits for an answer, who may be that very consumer.
struct ReadFlow: Sendable {
    private(set) var pauses = 0
    private(set) var demands = 0

    var isReading: Bool { self.pauses == 0 || self.demands > 0 }

    mutating func pause() { self.pauses += 1 }
    mutating func resume() { self.pauses = max(self.pauses - 1, 0) }
    mutating func demand() { self.demands += 1 }
    mutating func endDemand() { self.demands = max(self.demands - 1, 0) }
}

extension AMQPConnection {
    /// A consumer can't keep up: nothing more is read until each that asked has resumed. Called once by each.
    func pauseReading() { self.changeFlow { $0.pause() } }

    func resumeReading() { self.changeFlow { $0.resume() } }

    /// Somebody waits for an answer, which must be read whoever can't keep up.
    func demandReading() { self.changeFlow { $0.demand() } }

    func endReadingDemand() { self.changeFlow { $0.endDemand() } }

    private func changeFlow(_ change: (inout ReadFlow) -> Void) {
        let before = self.flow.isReading
        change(&self.flow)
        let isReading = self.flow.isReading
        guard isReading != before, !self.hasEnded else { return }
        self.channel.setOption(.autoRead, value: isReading).whenFailure { [logger] error in
            logger.debug("reading not changed", metadata: [LogKeys.error: "\(error)"])
        }
    }
}
