import Model

/// Reads Office files of before 2007 by the programs of Debian's package catdoc, as plain text.
struct LegacyOfficeReader {
    let configuration: IngestionConfiguration

    private static let maximumOutputBytes = 64 << 20

    /// - Throws: `failedPrecondition` if the program is not installed; `invalidArgument` for what is encrypted or something else.
    func read(_ bytes: [UInt8], as format: DocumentFormat) async throws -> ParsedDocument {
        let (program, arguments, wanted): (String, [String], CompoundFile.Kind) =
            switch format {
            case .xls: ("xls2csv", ["-d", "utf-8", "-c", "\t", "-q", "0", "{input}"], .excel)
            case .ppt: ("catppt", ["-d", "utf-8", "{input}"], .powerPoint)
            default: ("catdoc", ["-d", "utf-8", "-w", "{input}"], .word)
            }
        if bytes.starts(with: [0x50, 0x4b, 3, 4]) { throw ClusterError(.invalidArgument, "it is a document of Office 2007 or later, or an archive, under another name") }
        guard let kind = CompoundFile.kind(of: bytes) else { throw ClusterError(.invalidArgument, "it is no \(wanted.rawValue.dropFirst(2))") }
        guard kind != .encryptedPackage, !(kind == .word && CompoundFile.isEncryptedWord(bytes)) else {
            throw ClusterError(.invalidArgument, "the document is encrypted with a password")
        }
        guard kind == wanted else { throw ClusterError(.invalidArgument, "it is \(kind.rawValue) under another name") }
        let process = BoundedProcess(
            program: program, package: "catdoc", timeout: configuration.pandocTimeout, timeoutName: "pandocTimeout",
            memoryBytes: configuration.pandocMemoryBytes, outputBytes: Self.maximumOutputBytes, capturesOutput: true)
        let outcome = try await process.run(on: bytes, arguments: arguments)
        guard !outcome.isSignaled else { throw ClusterError(.resourceExhausted, "\(program) was ended by a limit on time, memory or output, or crashed") }
        guard outcome.exitCode == 0 else {
            throw ClusterError(.invalidArgument, "unreadable by \(program): \(outcome.complaint.isEmpty ? "exit code \(outcome.exitCode)" : outcome.complaint)")
        }
        return try await onIngestionThread { format == .xls ? table(outcome.output) : PlainTextReader.read(TextDecoder.decodeUnmarked(outcome.output.filter { $0 != 0 }).bytes) }
    }

    /// A form feed stands between sheets, a tab between cells.
    private func table(_ output: [UInt8]) -> ParsedDocument {
        var writer = DocumentWriter()
        let text = String(decoding: TextDecoder.decodeUnmarked(output).bytes, as: UTF8.self)
        for (index, sheet) in text.split(separator: "\u{c}", omittingEmptySubsequences: false).enumerated() {
            writer.mark(.sheet, index + 1)
            let rows = sheet.split(whereSeparator: \.isNewline).map { row in
                row.split(separator: "\t", omittingEmptySubsequences: false).map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }.joined(separator: " | ")
            }
            writer.block(.table, lines: rows.filter { !$0.allSatisfy { " |".contains($0) } })
        }
        return writer.finish(title: nil)
    }
}
