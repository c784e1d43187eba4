import CVectorKernels

/// CRC-32C (Castagnoli) of `bytes`, continuing from `seed`: the checksum of everything Covey writes.
///
/// It finds every single flipped byte and every burst up to 32 bits. About 8 bytes per 3 cycles where the processor has an
/// instruction for it, a third of that by table.
package func crc32c(_ bytes: [UInt8], seed: UInt32 = 0) -> UInt32 {
    unsafe bytes.withUnsafeBytes { unsafe crc32c($0, seed: seed) }
}

/// CRC-32C (Castagnoli) of `bytes`, continuing from `seed`.
@unsafe package func crc32c(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
    unsafe vk_crc32c(seed, bytes.baseAddress, bytes.count)
}
