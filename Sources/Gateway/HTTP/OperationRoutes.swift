import Hummingbird
import Observability
import Transport

/// What operators and their tools read: liveness, readiness and figures.
struct OperationRoutes: Sendable {
    let readiness: Readiness
    let metrics: Metrics

    func add(to router: Router<GatewayContext>) {
        router.get("/healthz") { _, _ in Response(text: "healthz check passed\n") }
        router.get("/readyz") { _, _ in
            guard let obstacle = await readiness.obstacle() else { return Response(text: "ready\n") }
            return Response(status: .serviceUnavailable, text: "not ready: \(obstacle)\n")
        }
        // Its labels name tenants, so once there are keys an operator's is needed.
        router.get("/metrics") { _, context in
            guard context.isOperator else { throw RequestError(.forbidden, code: "operator_only", "metrics need an operator's key") }
            let text = await awayFromLoops { () throws(Never) in metrics.render() }
            return Response(text: text, contentType: "text/plain; version=0.0.4; charset=utf-8")
        }
    }
}
