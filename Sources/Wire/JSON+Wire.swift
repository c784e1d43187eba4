import Foundation
import Model

/// A payload as the bytes of a JSON object; the empty one as no bytes.
func serialize(_ payload: Payload) -> Data { payload.isEmpty ? Data() : Data(JSONValue.object(payload).serialized()) }

/// - Throws: `invalidArgument` if the bytes are not a JSON object.
func parsePayload(_ bytes: Data) throws(ClusterError) -> Payload {
    if bytes.isEmpty { return [:] }
    guard case .object(let payload) = try JSONValue(parsing: bytes) else {
        throw ClusterError(.invalidArgument, "payload is not a JSON object")
    }
    return payload
}
