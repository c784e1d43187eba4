import CCrypto

/// The SHA-256 digest of `bytes`, 32 bytes.
package func sha256(_ bytes: [UInt8]) -> [UInt8] {
    unsafe bytes.withUnsafeBytes { unsafe sha256($0) }
}

/// The SHA-256 digest of `bytes`, 32 bytes.
package func sha256(_ bytes: some Sequence<UInt8>) -> [UInt8] { sha256(Array(bytes)) }

/// The SHA-256 digest of `bytes`, 32 bytes.
@unsafe package func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    let status = unsafe digest.withUnsafeMutableBufferPointer {
        unsafe EVP_Digest(bytes.baseAddress, bytes.count, $0.baseAddress, nil, EVP_sha256(), nil)
    }
    precondition(status == 1, "SHA-256 is not available in this libcrypto")
    return digest
}

/// `bytes` as lower-case hexadecimal digits.
package func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
