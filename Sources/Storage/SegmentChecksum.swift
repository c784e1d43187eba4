import CVectorKernels
import Glibc

/// CRC-32C of `bytes`, continuing from `checksum`, the checksum of what came before them.
///
/// - Complexity: about 8 bytes per 3 cycles where the processor has an instruction for it.
package func crc32c(_ bytes: UnsafeRawBufferPointer, after checksum: UInt32 = 0) -> UInt32 {
    unsafe vk_crc32c(checksum, bytes.baseAddress, bytes.count)
}

package func crc32c(_ bytes: [UInt8], after checksum: UInt32 = 0) -> UInt32 {
    unsafe bytes.withUnsafeBytes { unsafe crc32c($0, after: checksum) }
}

/// The operating system's words for an error number.
func errorText(_ number: Int32) -> String {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard unsafe strerror_r(number, buffer.baseAddress!, buffer.count) == 0 else { return "error \(number)" }
        return unsafe String(cString: buffer.baseAddress!)
    }
}
