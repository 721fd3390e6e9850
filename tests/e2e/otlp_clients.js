// What the stock JavaScript SDK sends: `node otlp_clients.js KIND HTTP_URL GRPC_ADDRESS COUNT`, KIND one of proto, http, grpc.
const [kind, httpUrl, grpcAddress, count] = process.argv.slice(2);
const load = (signal) => require(`@opentelemetry/exporter-${signal}-otlp-${kind}`);
const { LoggerProvider, SimpleLogRecordProcessor } = require("@opentelemetry/sdk-logs");
const { BasicTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { SpanKind } = require("@opentelemetry/api");

const url = (signal) => ({ url: kind === "grpc" ? `http://${grpcAddress}` : `${httpUrl}/v1/${signal}` });
const resource = resourceFromAttributes({ "service.name": "basket", "service.version": "7.0.0" });

async function main() {
  const logs = new LoggerProvider({
    resource,
    processors: [new SimpleLogRecordProcessor({ exporter: new (load("logs").OTLPLogExporter)(url("logs")) })],
  });
  const spans = new BasicTracerProvider({
    resource,
    spanProcessors: [new SimpleSpanProcessor(new (load("trace").OTLPTraceExporter)(url("traces")))],
  });
  const meters = new MeterProvider({
    resource,
    readers: [
      new PeriodicExportingMetricReader({
        exporter: new (load("metrics").OTLPMetricExporter)(url("metrics")),
        exportIntervalMillis: 3600000,
      }),
    ],
  });
  for (let n = 0; n < Number(count); n++) {
    logs.getLogger("js").emit({ body: `line ${n} of ${kind}`, severityNumber: 9, attributes: { n } });
    spans.getTracer("js").startSpan(`GET /${kind}/${n}`, { kind: SpanKind.SERVER }).end();
    meters.getMeter("js").createCounter(`served.${kind}`).add(1);
  }
  for (const provider of [logs, spans, meters]) {
    await provider.forceFlush();
    await provider.shutdown();
  }
}
main().catch((problem) => {
  console.error(problem);
  process.exit(1);
});
