/// A `multipart/form-data` body: fields and files of an upload.
///
/// - SeeAlso: RFC 7578.
package struct MultipartForm: Sendable {
    private var bytes: [UInt8] = []
    private let boundary: String

    package init() {
        // 128 random bits: no content holds it by chance.
        boundary = "covey-" + String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
    }

    /// What the request's `content-type` must say.
    package var contentType: String { "multipart/form-data; boundary=\(boundary)" }

    package mutating func addField(_ name: String, _ value: String) {
        add(disposition: "name=\(Self.quoted(name))", contentType: nil, Array(value.utf8))
    }

    package mutating func addFile(_ name: String, fileName: String, contentType: String, _ content: [UInt8]) {
        add(disposition: "name=\(Self.quoted(name)); filename=\(Self.quoted(fileName))", contentType: contentType, content)
    }

    /// The whole body, its end mark included.
    package func body() -> [UInt8] { bytes + Array("--\(boundary)--\r\n".utf8) }

    private mutating func add(disposition: String, contentType: String?, _ content: [UInt8]) {
        bytes += Array("--\(boundary)\r\nContent-Disposition: form-data; \(disposition)\r\n".utf8)
        if let contentType { bytes += Array("Content-Type: \(contentType)\r\n".utf8) }
        bytes += [0x0D, 0x0A] + content + [0x0D, 0x0A]
    }

    /// Browsers' escapes for a name in quotes: a line end or a quote in a file name must not end the header.
    private static func quoted(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": escaped += "%22"
            case "\r": escaped += "%0D"
            case "\n": escaped += "%0A"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return "\"\(escaped)\""
    }
}
