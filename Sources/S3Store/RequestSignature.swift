import Foundation
import Storage

/// Signs a request by AWS Signature Version 4 with the hash of its body.
///
/// The canonical request is method, path, sorted query, sorted lower-case headers, their names, and the body's SHA-256; what is signed is
/// its hash with date and scope, under a key derived from the secret. Source: "Signature Version 4 signing process", AWS General Reference.
package struct RequestSignature: Sendable {
    package var credentials: S3Credentials
    package var region: String
    package var service = "s3"

    package init(credentials: S3Credentials, region: String) {
        self.credentials = credentials
        self.region = region
    }

    /// The value of `Authorization`.
    ///
    /// - Parameters:
    ///   - path: From the first slash, percent-encoded once.
    ///   - query: Names and values, not encoded.
    ///   - headers: All that is signed, `host` and `x-amz-date` among them; names in lower case, each once.
    ///   - bodyHash: Hexadecimal SHA-256 of the body.
    ///   - date: `yyyyMMdd'T'HHmmss'Z'`, as in `x-amz-date`.
    package func authorization(method: String, path: String, query: [(String, String)], headers: [(String, String)], bodyHash: String, date: String) -> String {
        let headers = headers.sorted { $0.0 < $1.0 }
        let names = headers.map(\.0).joined(separator: ";")
        let canonical = [
            method, path, Self.canonicalQuery(query), headers.map { "\($0.0):\($0.1.trimmingCharacters(in: .whitespaces))\n" }.joined(), names, bodyHash,
        ].joined(separator: "\n")
        let day = String(date.prefix(8))
        let scope = "\(day)/\(region)/\(service)/aws4_request"
        let text = "AWS4-HMAC-SHA256\n\(date)\n\(scope)\n\(hex(sha256(canonical.utf8)))"
        var key = Array("AWS4\(credentials.secretKey)".utf8)
        for part in [day, region, service, "aws4_request"] { key = hmacSHA256(key: key, part.utf8) }
        let signature = hex(hmacSHA256(key: key, text.utf8))
        return "AWS4-HMAC-SHA256 Credential=\(credentials.accessKey)/\(scope), SignedHeaders=\(names), Signature=\(signature)"
    }

    /// The query as it is signed and sent: encoded, then sorted by name and value.
    static func canonicalQuery(_ query: [(String, String)]) -> String {
        query.map { (encode($0.0), encode($0.1)) }.sorted { $0 < $1 }.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    }

    /// Percent-encodes all but the unreserved characters of RFC 3986.
    static func encode(_ text: String) -> String {
        var encoded: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                encoded.append(byte)
            default: encoded += Array("%\(hex([byte]).uppercased())".utf8)
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// `yyyyMMdd'T'HHmmss'Z'` in UTC.
    package static func date(secondsSince1970 seconds: Int) -> String {
        var time = time_t(seconds)
        let parts = unsafe withUnsafeTemporaryAllocation(of: tm.self, capacity: 1) { buffer in
            unsafe gmtime_r(&time, buffer.baseAddress!)
            let parts = unsafe buffer[0]
            return unsafe (year: parts.tm_year, month: parts.tm_mon, day: parts.tm_mday, hour: parts.tm_hour, minute: parts.tm_min, second: parts.tm_sec)
        }
        func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.year + 1_900)\(two(parts.month + 1))\(two(parts.day))T\(two(parts.hour))\(two(parts.minute))\(two(parts.second))Z"
    }
}
