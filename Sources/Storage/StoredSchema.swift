import Foundation
import Model

/// Values that are stored as JSON, for people to read, inside a ``Frame``, for damage to be noticed.
extension Frame {
    package func wrap(json value: some Encodable) throws(FormatError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        do { return wrap(Array(try encoder.encode(value))) } catch { throw .malformed("cannot be written as JSON: \(error)") }
    }

    package func openJSON<Value: Decodable>(_ object: [UInt8], as type: Value.Type = Value.self) throws(FormatError) -> Value {
        var reader = try open(object)
        let json = try reader.read(count: reader.remaining)
        do { return try JSONDecoder().decode(type, from: Data(json)) } catch { throw .malformed("\(kind) is not what it should be: \(error)") }
    }
}

extension CollectionSchema {
    /// Of the object ``StoreKey/schema(_:of:)``: magic `CVSC`, the schema as JSON.
    package static let frame = Frame(kind: "schema", magic: 0x4353_5643, version: 1)

    package func stored() throws(FormatError) -> [UInt8] { try Self.frame.wrap(json: self) }

    package init(stored object: [UInt8]) throws(FormatError) { self = try Self.frame.openJSON(object) }
}
