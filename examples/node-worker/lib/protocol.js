// What every part needs of gRPC: the services, read from the published .proto files, and how to reach a coordinator.
// It knows nothing of what the messages mean.

import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

export const { status } = grpc;

/** The revision of the protocol that this is written to. */
export const REVISION = 1;

/** Nothing is cut here: what the coordinator takes is told in its welcome, and bounded by who fills a message. */
const UNBOUNDED = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

const folder = process.env.GRPCFLOW_PROTOS ?? fileURLToPath(new URL("../../../protos", import.meta.url));
const definition = loader.loadSync(["grpcflow/v1/client_service.proto", "grpcflow/v1/worker_service.proto"], {
  includeDirs: [folder],
  keepCase: true,
  longs: String, // a token has 64 bits and is opaque; a number of this language has 53
  enums: String,
  defaults: true,
  oneofs: true,
});
const services = grpc.loadPackageDefinition(definition).grpcflow.v1;

/** Opens a connection for one service, "ClientService" or "WorkerService", to HOST:PORT, in plain text. */
export function connect(service, address) {
  return new services[service](address, grpc.credentials.createInsecure(), UNBOUNDED);
}

/** Waits so many milliseconds, half of them by chance, so that not all come back at one moment. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds * (0.5 + Math.random() / 2)));
}
