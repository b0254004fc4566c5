/// What the broker is told of a delivery.
public enum Settlement: Sendable, Equatable {
    case acknowledge
    case reject(requeue: Bool)
}

/// How a task ended in its Python worker, as far as its delivery's settlement depends on it.
public enum JobEnding: Sendable, Equatable {
    case succeeded
    case failed
    case retried
    case ignored
    case rejected(requeue: Bool)
    /// The body could not be decoded.
    case undecodable
    /// The body is of a shape that no Celery client writes.
    case malformed
    /// The worker's process died.
    case workerLost
    /// The hard time limit ended it.
    case timedOut
    /// It was ended on request.
    case revoked
    /// It has cost its worker's process, and another message has taken this one's place.
    case republished
}
