import Model

extension FuzzTarget {
    static let requests: [FuzzTarget] = [
        FuzzTarget("json", seeds: [Array(#"{"a": [1, -2.5e3, "x\u00e9\n", null, true, {"b": []}], "c": 18446744073709551615}"#.utf8)]) { bytes in
            guard let value = try? JSONValue(parsing: bytes) else { return }
            let written = value.serialized()
            guard let again = try? JSONValue(parsing: written) else { fatalError("not read as it was written: \(String(decoding: written, as: UTF8.self))") }
            precondition(again.serialized() == written, "changes: \(String(decoding: written, as: UTF8.self))")
        },
    ] + gateway + grpc
}
