import Celery
import JSON
import Logging
import PythonPool

/// What outlives the worker: revoked tasks and the clock (`celery/worker/state.py`, `Persistent`). The file is Celery's own, so Python reads and writes it.
extension Worker {
    /// Takes over what an earlier run has left.
    func restoreState(from path: String) async {
        do {
            let arguments: JSON = ["path": .string(path)]
            let reply = try await self.pool.call("state.load", arguments.encoded, deadline: Self.pythonCallLimit)
            let state = try JSON(parsing: reply)
            self.revokedTasks.merge(
                state["revoked"]?.array?.compactMap(\.string) ?? [],
                now: Self.monotonicClock()
            )
            self.clock.adjust(to: state["clock"]?.int.map(Int64.init) ?? 0)
        } catch {
            self.logger.error(
                "the state of an earlier run can't be read (--statedb): this one starts without it",
                metadata: [LogKeys.file: "\(path)", LogKeys.error: "\(error)"]
            )
        }
    }

    /// There is more to remember than the file knows.
    func stateHasChanged() {
        self.isStateUnsaved = true
        self.stateChanges.send()
    }

    /// Saves the state soon after each change, so that a worker that is killed has forgotten little.
    func runStateKeeper() async {
        while (try? await self.wait(until: { $0.isStateUnsaved && $0.settings?.stateFile != nil })) != nil {
            await self.saveState()
            guard (try? await Task.sleep(for: .seconds(1))) != nil else { return }
        }
    }

    func saveState() async {
        guard let path = self.settings?.stateFile else { return }
        self.isStateUnsaved = false
        let now = Self.monotonicClock()
        self.revokedTasks.purge(now: now)
        let arguments: JSON = [
            "path": .string(path),
            // How long ago each was revoked, in seconds.
            "revoked": .object(JSONObject(self.revokedTasks.entries.map { ($0.id, JSON.double(now - $0.time)) })),
            "clock": .int(self.clock.forward()),
        ]
        do {
            _ = try await self.pool.call("state.save", arguments.encoded, deadline: Self.pythonCallLimit)
        } catch {
            self.logger.error(
                "the worker's state can't be saved (--statedb)",
                metadata: [LogKeys.file: "\(path)", LogKeys.error: "\(error)"]
            )
        }
    }
}
