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

/// Whether both are the same, in a time that depends on their lengths only.
package func equalInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    return unsafe CRYPTO_memcmp(a, b, a.count) == 0
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

/// HMAC with SHA-256 of `bytes` under `key`, 32 bytes (RFC 2104).
package func hmacSHA256(key: [UInt8], _ bytes: some Sequence<UInt8>) -> [UInt8] {
    let message = Array(bytes)
    var code = [UInt8](repeating: 0, count: 32)
    let result = unsafe code.withUnsafeMutableBufferPointer { code in
        unsafe HMAC(EVP_sha256(), key, CInt(key.count), message, message.count, code.baseAddress, nil)
    }
    precondition(unsafe result != nil, "HMAC is not available in this libcrypto")
    return code
}

/// The MD5 digest of `bytes`, 16 bytes: no protection, but S3's check of a request's body.
package func md5(_ bytes: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 16)
    let status = unsafe digest.withUnsafeMutableBufferPointer { unsafe EVP_Digest(bytes, bytes.count, $0.baseAddress, nil, EVP_md5(), nil) }
    precondition(status == 1, "MD5 is not available in this libcrypto")
    return digest
}
