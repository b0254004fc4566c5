import JSON

/// What a worker of a fleet adds to the `hello` that it sends: many workers of one queue, which start at the same time, and again after each loss of
/// the broker.
///
/// A stock `hello` is answered by each node of the virtual host, with its whole list of revoked tasks: of n workers that start together by n² answers.
/// But each of the fleet knows what the others know, so a few answers are as good as all; one that knows of nothing has nothing to say; and
/// whoever has missed a revoke asks for it himself, so that none is told with the question. Stock workers take no notice, and answer as ever.
struct FleetHello: Sendable, Equatable {
    /// How many answers are wanted. Each answers by chance, so that it may be a few more or less; that none comes where more could, has a chance of 1 : 20,000.
    static let sample = 10.0

    var fleet: String
    /// The share of the fleet's workers that are to answer.
    var share: Double

    /// - Parameter consumers: of the fleet's queue, this worker's own included.
    init(fleet: String, consumers: Int) {
        self.fleet = fleet
        self.share = min(1, Self.sample / Double(max(1, consumers - 1)))
    }

    /// Reads the arguments of a request; `nil` for those of a worker that is of no fleet.
    init?(_ arguments: JSONObject) {
        guard let fleet = arguments["fleet"]?.string else { return nil }
        self.fleet = fleet
        self.share = arguments["share"]?.double ?? 1
    }

    var arguments: JSONObject { ["fleet": .string(self.fleet), "share": .double(self.share)] }

    /// Whether a worker is to answer.
    /// - Parameters:
    ///   - fleet: the one that it is of, if it is of any.
    ///   - knowsRevoked: whether it knows of revoked tasks.
    ///   - chance: from 0 up to, and not including, 1.
    func isAnswered(by fleet: String?, knowsRevoked: Bool, chance: Double) -> Bool {
        fleet == self.fleet && knowsRevoked && chance < self.share
    }
}
