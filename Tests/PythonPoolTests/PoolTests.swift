import Glibc
import NIOCore
import Testing

@testable import PythonPool

@Suite("The pool with real Python", .timeLimit(.minutes(3)))
struct PoolTests {
    static let code = """
        import os, sys, time, logging
        from celery.exceptions import Ignore, Reject
        from celery.signals import worker_process_init, worker_process_shutdown

        @worker_process_init.connect
        def init(**kwargs):
            print("init", kwargs["sender"])

        @worker_process_shutdown.connect
        def shutdown(pid, exitcode, **kwargs):
            print("shutdown", pid == os.getpid(), exitcode)

        @app.task(name="noop", acks_late=True)
        def noop(*args):
            pass

        @app.task(name="add")
        def add(a, b):
            return a + b

        @app.task(name="size")
        def size(text):
            return len(text)

        @app.task(name="fail")
        def fail():
            raise ValueError("no \\u00e9")

        @app.task(name="again", bind=True)
        def again(self):
            raise self.retry(exc=KeyError("later"), countdown=5)

        @app.task(name="reject")
        def reject(requeue):
            raise Reject("bad", requeue=requeue)

        @app.task(name="ignore")
        def ignore():
            raise Ignore()

        @app.task(name="memory")
        def memory():
            raise MemoryError("full")

        @app.task(name="leave")
        def leave():
            sys.exit(3)

        @app.task(name="die")
        def die():
            os.kill(os.getpid(), 9)

        @app.task(name="sleep")
        def sleep(seconds):
            time.sleep(seconds)

        @app.task(name="spin")
        def spin():
            while True:
                pass

        @app.task(name="wait")
        def wait(path):
            while not os.path.exists(path):
                time.sleep(0.005)

        @app.task(name="say")
        def say(word):
            print(word)
            print("half " + word, end="")
            sys.stderr.write("err " + word + chr(10))
            os.system("echo sub " + word)
            logging.getLogger("mine").error("logged %s", word)
            assert sys.stdout.fileno() == 1
            sys.stdout.buffer.write(b"bytes ")
        """

    @Test("A job is run by Celery's tracer")
    func success() async throws {
        try await Harness.run { harness in
            try await harness.start(Self.code)
            await harness.submit(1, "add", arguments: "[1, 2]", flags: .reportsStart)
            #expect(try await harness.recorder.finished(1) == .success(result: "3"))
            let started = harness.recorder.events.contains {
                if case .started(1, _) = $0 { true } else { false }
            }
            #expect(started)
        }
    }
}
