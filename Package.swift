// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let nioConcurrencyHelpers = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")

let package = Package(
    name: "armada-agent",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "AMQP", targets: ["AMQP"]),
        .executable(name: "armada-agent", targets: ["armada-agent"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .target(
            name: "AMQP",
            dependencies: [nioCore, nioPosix, nioSSL, logging, deque],
            swiftSettings: settings
        ),
        .target(name: "JSON", dependencies: [nioCore], swiftSettings: settings),
        .target(name: "Marshal", dependencies: ["JSON", nioCore], swiftSettings: settings),
        .target(name: "Celery", dependencies: ["AMQP", "JSON", "Marshal", nioCore], swiftSettings: settings),
        .target(name: "CPool"),
        // How processes are started that die with the agent.
        .target(name: "Spawning", dependencies: ["CPool", nioCore], swiftSettings: settings),
        // FreeTDS, loaded when it is first needed; its header is that of the package freetds-dev.
        .target(name: "CFreeTDS"),
        .target(
            name: "PythonPool",
            dependencies: ["CPool", "Spawning", nioCore, nioPosix, logging, deque],
            swiftSettings: settings
        ),
        .target(
            name: "CeleryWorker",
            dependencies: [
                "AMQP", "Celery", "JSON", "PythonPool", nioConcurrencyHelpers, nioCore, nioPosix, logging, deque, heap,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "AgentModules",
            dependencies: [
                "CFreeTDS", "CPool", "Celery", "JSON", "Marshal", "Spawning",
                asyncHTTPClient, nioConcurrencyHelpers, nioCore, nioHTTP1, nioPosix, nioSSL, nioTLS, logging,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Agent",
            dependencies: [
                "AMQP", "AgentModules", "Celery", "CeleryWorker", "JSON", "PythonPool", "Spawning", nioCore, nioHTTP1,
                nioPosix, nioSSL, logging, argumentParser,
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "armada-agent",
            dependencies: [
                "Agent", "AgentModules", "CeleryWorker", argumentParser, logging, nioCore, nioPosix,
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AMQPTests",
            dependencies: ["AMQP", nioConcurrencyHelpers, nioCore, nioPosix, logging],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AMQPIntegrationTests",
            dependencies: ["AMQP", nioCore, nioPosix, logging],
            swiftSettings: settings
        ),
        .testTarget(name: "JSONTests", dependencies: ["JSON", nioCore], swiftSettings: settings),
        .testTarget(name: "MarshalTests", dependencies: ["JSON", "Marshal", nioCore], swiftSettings: settings),
        .testTarget(name: "CeleryTests", dependencies: ["AMQP", "Celery", "JSON", nioCore], swiftSettings: settings),
        .testTarget(
            name: "PythonPoolTests",
            dependencies: [
                "JSON", "Marshal", "PythonPool", "Spawning", nioConcurrencyHelpers, nioCore, nioPosix, logging, deque,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CeleryWorkerTests",
            dependencies: ["AMQP", "Celery", "CeleryWorker", "JSON", "PythonPool", "Spawning", nioCore],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AgentModulesTests",
            dependencies: [
                "AgentModules", "Celery", "CPool", "JSON", "Spawning", nioConcurrencyHelpers, nioCore, nioHTTP1,
                nioPosix, nioSSL, logging,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AgentTests",
            dependencies: [
                "Agent", "AgentModules", "Celery", "CeleryWorker", "JSON", "PythonPool", "Spawning", argumentParser,
                nioCore, nioHTTP1, nioPosix, logging,
            ],
            swiftSettings: settings
        ),
    ]
)
