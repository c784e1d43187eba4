import Model

/// Reads e-mail: a message as a section under its subject, with sender, recipients and date, its text, and the names of what is attached.
struct MailReader {
    /// Deepest nesting of parts and forwarded messages, and most parts of one. Mail programs nest four deep.
    private static let maximumDepth = 16
    private static let maximumParts = 1_000

    private var writer = DocumentWriter()

    /// One message.
    static func read(_ bytes: [UInt8]) throws(ClusterError) -> ParsedDocument {
        let message = MailMessage(bytes[...])
        guard message.fields.contains(where: { ["from", "date", "subject", "to", "received", "message-id", "mime-version", "content-type"].contains($0.name) }) else {
            throw ClusterError(.invalidArgument, "it is no e-mail: it has none of the header fields that mail has")
        }
        var reader = MailReader()
        reader.append(message, level: 1, depth: 0)
        return reader.writer.finish(title: message.text("subject"))
    }

    /// A mailbox of any number of messages, each behind a line that begins with `From `.
    static func readMailbox(_ bytes: [UInt8]) throws(ClusterError) -> ParsedDocument {
        guard bytes.starts(with: "From ".utf8) else { throw ClusterError(.invalidArgument, "it is no mailbox: it does not begin with \"From \"") }
        var reader = MailReader()
        var starts: [Int] = [0]
        for offset in bytes.indices.dropFirst(2) where bytes[offset] == UInt8(ascii: "F") && bytes[offset - 1] == 0x0a && bytes[offset...].starts(with: "From ".utf8) {
            let before = bytes[offset - 2] == 0x0d ? offset - 3 : offset - 2
            if before < 0 || bytes[before] == 0x0a { starts.append(offset) }
        }
        for (index, start) in starts.enumerated() {
            reader.writer.mark(.message, index + 1)
            reader.append(MailMessage(unquoted(bytes[start..<(index + 1 < starts.count ? starts[index + 1] : bytes.count)])[...]), level: 1, depth: 0)
        }
        return reader.writer.finish(title: nil)
    }

    /// Lines like `>From ` lost a `>` when the mailbox was written.
    private static func unquoted(_ message: ArraySlice<UInt8>) -> [UInt8] {
        var lines = message.split(separator: 0x0a, omittingEmptySubsequences: false)
        lines.removeFirst()
        for index in lines.indices where lines[index].first == UInt8(ascii: ">") && lines[index].drop(while: { $0 == UInt8(ascii: ">") }).starts(with: "From ".utf8) {
            lines[index] = lines[index].dropFirst()
        }
        return Array(lines.joined(separator: [0x0a]))
    }

    private mutating func append(_ message: MailMessage, level: Int, depth: Int) {
        writer.heading(message.text("subject") ?? "(no subject)", level: level)
        let names = [("from", "From"), ("to", "To"), ("cc", "Cc"), ("date", "Date")]
        writer.paragraph(names.compactMap { key, name in message.text(key).map { "\(name): \($0)" } }.joined(separator: "\n"))
        var attachments: [String] = []
        appendBody(of: message, level: level, depth: depth, &attachments)
        if !attachments.isEmpty { writer.paragraph("Attachments: " + attachments.joined(separator: ", ")) }
    }

    private mutating func appendBody(of part: MailMessage, level: Int, depth: Int, _ attachments: inout [String]) {
        guard depth < Self.maximumDepth else { return writer.note("parts nested deeper than \(Self.maximumDepth) were left out") }
        if part.isAttachment, part.type != "message/rfc822" { return attachments.append(Self.name(of: part)) }
        switch part.type {
        case "text/plain", "text/html", "text/markdown":
            if let document = text(of: part) { writer.append(document, under: level) }
        case "multipart/alternative":
            if let best = best(of: part.parts(limit: Self.maximumParts)) { appendBody(of: best, level: level, depth: depth + 1, &attachments) }
        case "multipart/encrypted": writer.note("the message is encrypted: only its header was read")
        case _ where part.type.hasPrefix("multipart/"):
            for inner in part.parts(limit: Self.maximumParts) { appendBody(of: inner, level: level, depth: depth + 1, &attachments) }
        case "message/rfc822": append(MailMessage(part.content()[...]), level: level + 1, depth: depth + 1)
        case "application/pkcs7-mime", "application/x-pkcs7-mime":
            if part.parameter("smime-type", of: "content-type")?.lowercased() == "signed-data" { attachments.append(Self.name(of: part)) } else {
                writer.note("the message is encrypted: only its header was read")
            }
        case "application/pgp-signature", "application/pkcs7-signature": break
        default: attachments.append(Self.name(of: part))
        }
    }

    private static func name(of part: MailMessage) -> String { part.filename.map { "\($0) (\(part.type))" } ?? part.type }

    private mutating func text(of part: MailMessage) -> ParsedDocument? {
        if part.type == "text/html" { return try? HTMLReader.read(part.content(), charset: part.parameter("charset", of: "content-type")) }
        let decoded = part.decodedText()
        if let note = decoded.note { writer.note(note) }
        let text = Array(decoded.bytes.filter { $0 != 0x0d && $0 != 0 })
        return part.type == "text/markdown" ? MarkdownReader.read(text) : PlainTextReader.read(text)
    }

    /// The plain text, unless it is only a word about the other: then what comes last, which senders think best.
    private func best(of parts: [MailMessage]) -> MailMessage? {
        let html = parts.last { $0.type == "text/html" || $0.type.hasPrefix("multipart/") }
        guard let plain = parts.last(where: { $0.type == "text/plain" }) else { return html ?? parts.last }
        guard let html else { return plain }
        let plainBytes = plain.content().count { !$0.isSpace }
        return plainBytes * 4 >= htmlBytes(of: html, depth: 0) ? plain : html
    }

    /// Of what is shown, also of a page that comes with its pictures. White space is not counted.
    private func htmlBytes(of part: MailMessage, depth: Int) -> Int {
        if part.type.hasPrefix("multipart/"), depth < Self.maximumDepth {
            return part.parts(limit: Self.maximumParts).reduce(0) { $0 + htmlBytes(of: $1, depth: depth + 1) }
        }
        guard part.type == "text/html", !part.isAttachment else { return 0 }
        return (try? HTMLReader.read(part.content(), charset: part.parameter("charset", of: "content-type")))?.text.count { !$0.isSpace } ?? 0
    }
}
