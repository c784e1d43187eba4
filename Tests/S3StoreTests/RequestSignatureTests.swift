import Testing

import S3Store

/// The examples of "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference.
@Suite("signature of a request")
struct RequestSignatureTests {
    struct Example: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var method: String
        var path = "/"
        var query: [(String, String)] = []
        var headers: [(String, String)] = []
        var bodyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        var signature: String
    }

    static let examples = [
        Example(
            testDescription: "GET with a range", method: "GET", path: "/test.txt", headers: [("range", "bytes=0-9")],
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        Example(
            testDescription: "PUT", method: "PUT", path: "/test%24file.text",
            headers: [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            bodyHash: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        Example(
            testDescription: "GET of a subresource", method: "GET", query: [("lifecycle", "")],
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        Example(
            testDescription: "GET of a listing", method: "GET", query: [("prefix", "J"), ("max-keys", "2")],
            signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    @Test("is the published one", arguments: examples)
    func published(example: Example) {
        let signature = RequestSignature(
            credentials: S3Credentials(accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), region: "us-east-1")
        let fixed = [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", example.bodyHash), ("x-amz-date", "20130524T000000Z")]
        let value = signature.authorization(
            method: example.method, path: example.path, query: example.query, headers: fixed + example.headers, bodyHash: example.bodyHash,
            date: "20130524T000000Z")
        #expect(value.hasSuffix("Signature=\(example.signature)"), "\(value)")
        #expect(value.hasPrefix("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders="))
    }

    @Test("dates are in UTC, and a reply's date is read")
    func dates() {
        #expect(RequestSignature.date(secondsSince1970: 1_369_353_600) == "20130524T000000Z")
        #expect(RequestSignature.date(secondsSince1970: 784_111_777) == "19941106T084937Z")
        #expect(S3Client.seconds(httpDate: "Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777)
        for text in ["", "yesterday", "Sun, 06 Foo 1994 08:49:37 GMT"] { #expect(S3Client.seconds(httpDate: text) == nil) }
    }
}

@Suite("credentials and places")
struct S3ConfigurationTests {
    @Test("a profile of the shared file is read, and a missing one named")
    func sharedFile() throws {
        let text = """
            # comment
            [default]
            aws_access_key_id = A
            aws_secret_access_key=S=1
            [work]
              aws_access_key_id=B
            aws_secret_access_key = T
            aws_session_token = token
            [half]
            aws_access_key_id = C
            """
        #expect(try S3Credentials(sharedFile: text, profile: "default") == S3Credentials(accessKey: "A", secretKey: "S=1"))
        #expect(try S3Credentials(sharedFile: text, profile: "work") == S3Credentials(accessKey: "B", secretKey: "T", sessionToken: "token"))
        #expect(throws: S3ConfigurationError("profile [half] wants aws_access_key_id and aws_secret_access_key")) {
            try S3Credentials(sharedFile: text, profile: "half")
        }
        #expect(throws: S3ConfigurationError("has no profile [home]")) { try S3Credentials(sharedFile: text, profile: "home") }
        #expect(!"\(S3Credentials(accessKey: "A", secretKey: "hidden"))".contains("hidden"))
    }

    @Test("a place is a bucket and a prefix")
    func places() throws {
        #expect(try S3Configuration.parse(location: "s3://bucket/a/b/") == ("bucket", "a/b"))
        #expect(try S3Configuration.parse(location: "s3://buc") == ("buc", ""))
        for bad in ["s3://", "s3://ab", "s3://Bucket", "s3://bucket//a", "s3://bucket/a b", "s3://bucket/.a", "http://bucket"] {
            #expect(throws: S3ConfigurationError.self, "\(bad)") { try S3Configuration.parse(location: bad) }
        }
    }
}
