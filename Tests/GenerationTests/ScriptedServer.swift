import Foundation
import Glibc
import Synchronization

/// An HTTP server on loopback that answers each connection with the next of its scripts and keeps what it was sent.
final class ScriptedServer: Sendable {
    let port: UInt16
    private let listener: Int32
    private let requests = Mutex<[String]>([])
    private let closedEarly = Mutex(false)

    var received: [String] { requests.withLock { $0 } }
    /// Whether a client closed its connection before the script ended.
    var sawClientLeave: Bool { closedEarly.withLock { $0 } }
    var url: String { "http://127.0.0.1:\(port)/v1" }

    /// - Parameter scripts: One a connection: the bytes to send, piece by piece. `nil` keeps the connection open until the client leaves.
    init(_ scripts: [[String?]]) {
        (listener, port) = Self.listen()
        var thread = pthread_t()
        let body = Unmanaged.passRetained(Box { [self] in serve(scripts) })
        pthread_create(&thread, nil, { Unmanaged<Box>.fromOpaque($0!).takeRetainedValue().run(); return nil }, body.toOpaque())
        pthread_detach(thread)
    }

    /// A port that nobody listens on at this moment.
    static func freePort() -> UInt16 {
        let (listener, port) = listen()
        close(listener)
        return port
    }

    private static func listen() -> (listener: Int32, port: UInt16) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(Glibc.bind(listener, $0, length) == 0 && Glibc.listen(listener, 16) == 0)
                getsockname(listener, $0, &length)
            }
        }
        return (listener, UInt16(bigEndian: address.sin_port))
    }

    private final class Box {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }

    private func serve(_ scripts: [[String?]]) {
        for script in scripts {
            let connection = accept(listener, nil, nil)
            requests.withLock { $0.append(Self.readRequest(connection)) }
            for piece in script {
                guard let piece else {
                    var byte: UInt8 = 0
                    if recv(connection, &byte, 1, 0) <= 0 { closedEarly.withLock { $0 = true } }
                    continue
                }
                _ = Array(piece.utf8).withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            }
            close(connection)
        }
        close(listener)
    }

    private static func readRequest(_ connection: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            bytes += buffer[..<count]
            let text = String(decoding: bytes, as: UTF8.self)
            guard let head = text.range(of: "\r\n\r\n") else { continue }
            let length = text[..<head.lowerBound].lowercased().firstMatch(of: /content-length: (\d+)/).flatMap { Int($0.1) } ?? 0
            if text[head.upperBound...].utf8.count >= length { break }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
