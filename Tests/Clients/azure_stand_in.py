"""A stand-in for Azure OpenAI, and for OpenAI's own API, on loopback: it answers as their references say, and misbehaves as they do when told to.

It knows the deployments path with `api-version`, the `/openai/v1` path, keys (`api-key`, or `Authorization: Bearer` at OpenAI's) and tokens; the
limits of an embeddings request (2,048 inputs, 300,000 tokens, 8,192 tokens a text); content filters in prompt and completion, streamed with Azure's
first chunk that has no choice; and errors in their envelopes. A text's vector follows from its words, so texts that share words are near each other.

Sources: learn.microsoft.com, "Azure OpenAI in Microsoft Foundry Models REST API reference" and "Content filtering"; platform.openai.com, "API
reference" and "Error codes". `test_azure.py` lets the `openai` package, which knows both, call it as well.
"""

import email.utils
import hashlib
import http.server
import json
import math
import re
import ssl
import threading
import time
from urllib.parse import parse_qs, urlsplit

API_VERSIONS = {"2024-06-01", "2024-10-21", "2025-01-01-preview"}
MAXIMUM_INPUTS, MAXIMUM_TOKENS, MAXIMUM_TEXT_TOKENS = 2_048, 300_000, 8_192
SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
HARM = "a recipe for harm"


def tokens(text):
    """About as many as a tokenizer would make: a word, or four bytes of one."""
    return sum(-(-len(word.encode()) // 4) for word in text.split())


def vector(text, dimension):
    values = [0.0] * dimension
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word.encode()).digest()
        for place in range(0, 8, 2):
            values[int.from_bytes(digest[place:place + 2]) % dimension] += 1 if digest[place + 8] & 1 else -1
    length = math.sqrt(sum(value * value for value in values)) or 1
    return [value / length for value in values] if any(values) else [1.0] + [0.0] * (dimension - 1)


class Refusal(Exception):
    """An error status with its body as Azure or OpenAI sends it."""

    def __init__(self, status, code, message, headers=None, /, **more):
        self.status, self.headers = status, headers or {}
        self.body = {"error": {"message": message, "type": more.pop("type", None), "param": more.pop("param", None), "code": code, **more}}


def rate_limited(retry_after, code="429"):
    """`retry_after`: what the header says; None for none."""
    message = "Requests to the operation under Azure OpenAI API version 2024-10-21 have exceeded call rate limit of your current OpenAI S0 pricing tier."
    return Refusal(429, code, message, {} if retry_after is None else {"retry-after": str(retry_after)})


def http_date(seconds):
    """As a header has it: so many seconds from now."""
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def unavailable(retry_after=None):
    return Refusal(503, "ServiceUnavailable", "The service is temporarily unable to process your request.", {} if retry_after is None else {"retry-after": str(retry_after)})


def filtered_prompt():
    result = {**SAFE, "violence": {"filtered": True, "severity": "high"}, "jailbreak": {"detected": False, "filtered": False}}
    return Refusal(
        400, "content_filter",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.",
        param="prompt", status=400, innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": result})


class AzureStandIn:
    """`script(operation, *steps)` sets what the next calls of `embeddings` or `chat/completions` meet, one step a call: a Refusal, a callable that is
    given the handler, or None for an answer. `requests` are the calls that came: operation, path, headers, body, time."""

    def __init__(self, certificate=None, key="azure-secret", deployments=None, context=4_096, dimension=64):
        self.key = key
        self.tokens = {"entra-token-1"}
        #: Name of a deployment → its model.
        self.deployments = deployments or {"embed": "text-embedding-3-large", "chat": "gpt-4o"}
        self.context, self.dimension = context, dimension
        self.answer = "Lake Baikal is 1,642 metres deep [1]."
        self.requests, self.steps = [], {"embeddings": [], "chat/completions": []}
        self.lock = threading.Lock()
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                try:
                    stand_in.serve(self)
                except Refusal as refusal:
                    self.reply(refusal.status, refusal.body, refusal.headers)
                except OSError:
                    pass  # the caller left

            def reply(self, status, body, headers={}):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "apim-request-id": "stand-in", **headers, "content-length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def begin_stream(self):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True

            def event(self, value):
                self.wfile.write(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            context_ = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context_.load_cert_chain(*certificate)
            self.server.socket = context_.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def script(self, operation, *steps):
        with self.lock:
            self.steps[operation] = list(steps)

    def seen(self, operation):
        with self.lock:
            return [request for request in self.requests if request["operation"] == operation]

    def forget(self):
        with self.lock:
            self.requests.clear()

    # MARK: serving

    def serve(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        operation, model, isAzure = self.place(handler)
        with self.lock:
            self.requests.append({
                "operation": operation, "path": handler.path, "headers": {k.lower(): v for k, v in handler.headers.items()}, "body": body,
                "time": time.monotonic(),
            })
            step = self.steps[operation].pop(0) if self.steps[operation] else None
        self.authorize(handler, isAzure)
        model = model or self.model(body)
        if isinstance(step, Refusal):
            raise step
        if callable(step):
            return step(handler)
        if operation == "embeddings":
            handler.reply(200, self.embed(body, model))
        else:
            self.complete(handler, body, model, isAzure)

    def place(self, handler):
        """What is asked, of which deployment's model, and whether in Azure's own way."""
        parts = urlsplit(handler.path)
        if found := re.fullmatch(r"/openai/deployments/([^/]+)/(embeddings|chat/completions)", parts.path):
            deployment, operation = found.groups()
            version = parse_qs(parts.query).get("api-version")
            if not version:
                raise Refusal(404, "404", "Resource not found")
            if version[0] not in API_VERSIONS:
                raise Refusal(400, "BadRequest", "API version not supported")
            if deployment not in self.deployments:
                raise Refusal(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
            return operation, self.deployments[deployment], True
        if found := re.fullmatch(r"(?:/openai)?/v1/(embeddings|chat/completions)", parts.path):
            return found[1], None, False
        raise Refusal(404, "404", "Resource not found")

    def model(self, body):
        name = body.get("model")
        if name not in self.deployments and name not in self.deployments.values():
            raise Refusal(404, "model_not_found", f"The model `{name}` does not exist or you do not have access to it.", type="invalid_request_error")
        return self.deployments.get(name, name)

    def authorize(self, handler, isAzure):
        bearer = (handler.headers.get("authorization") or "").removeprefix("Bearer ")
        if bearer:  # a token goes before a key, as at Azure
            good = bearer in self.tokens or not isAzure and bearer == self.key
        else:
            good = handler.headers.get("api-key") == self.key
        if not good:
            raise Refusal(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.")

    def embed(self, body, model):
        inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if len(inputs) > MAXIMUM_INPUTS:
            raise Refusal(400, None, f"Invalid 'input': array too long. Expected an array with maximum length {MAXIMUM_INPUTS}.", type="invalid_request_error")
        counts = [tokens(text) for text in inputs]
        for count in counts:
            if count > MAXIMUM_TEXT_TOKENS:
                raise Refusal(
                    400, None, f"This model's maximum context length is {MAXIMUM_TEXT_TOKENS} tokens, however you requested {count} tokens.",
                    type="invalid_request_error")
        if sum(counts) > MAXIMUM_TOKENS:
            raise Refusal(400, "max_tokens_per_request", f"Requested {sum(counts)} tokens, max {MAXIMUM_TOKENS} tokens per request")
        dimension = body.get("dimensions", self.dimension)
        if "dimensions" in body and "ada-002" in model:
            raise Refusal(400, None, "This model does not support specifying dimensions.", type="invalid_request_error", param="dimensions")
        data = [{"object": "embedding", "index": i, "embedding": vector(text, dimension)} for i, text in enumerate(inputs)]
        return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}}

    def complete(self, handler, body, model, isAzure):
        reasons = model.startswith(("o", "gpt-5"))
        if reasons and "max_tokens" in body:
            raise Refusal(
                400, "unsupported_parameter", "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                type="invalid_request_error", param="max_tokens")
        if reasons and body.get("temperature", 1) != 1:
            raise Refusal(
                400, "unsupported_value", "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
                type="invalid_request_error", param="temperature")
        prompt = sum(tokens(message["content"]) for message in body["messages"])
        if prompt + body.get("max_tokens", body.get("max_completion_tokens", 0)) > self.context:
            raise Refusal(
                400, "context_length_exceeded",
                f"This model's maximum context length is {self.context} tokens. However, your messages resulted in {prompt} tokens.",
                type="invalid_request_error", param="messages")
        if isAzure and any(HARM in message["content"] for message in body["messages"]):
            raise filtered_prompt()
        self.stream(handler, model, self.answer, isAzure, prompt=prompt, usage=body.get("stream_options", {}).get("include_usage"))

    def stream(self, handler, model, text, isAzure, prompt=10, usage=True, finish="stop"):
        """A completion, in Azure's case with what its filter says: first of the prompt, in a chunk without a choice, then of each piece."""
        handler.begin_stream()
        if isAzure:
            handler.event({
                "choices": [], "created": 0, "id": "", "model": "", "object": "",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {**SAFE, "jailbreak": {"detected": False, "filtered": False}}}],
            })

        def chunk(delta, reason=None, results=None):
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            if isAzure:
                choice["content_filter_results"] = results if results is not None else {}
            handler.event({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1732000000, "model": model, "system_fingerprint": "fp_1",
                "choices": [choice], **({"usage": None} if usage else {}),
            })

        chunk({"role": "assistant", "content": "", "refusal": None})
        for piece in re.findall(r"\S+\s*", text):
            chunk({"content": piece}, results=SAFE)
        chunk({}, finish, {**SAFE, "violence": {"filtered": True, "severity": "medium"}} if finish == "content_filter" else None)
        if usage:
            count = tokens(text)
            handler.event({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1732000000, "model": model, "choices": [],
                "usage": {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count},
            })
        handler.event("[DONE]")
