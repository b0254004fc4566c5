/// Which agent this is.
public enum AgentVersion {
    /// As `--version` tells it.
    public static let text = "0.1.0"
}
