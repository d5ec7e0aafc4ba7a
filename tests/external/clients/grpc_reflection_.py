"""What tools ask the port by gRPC before they know it: reflection, and health."""
from steps import compiled, refused

_, _, connection = compiled("getlockd.proto")

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

known = ProtoReflectionDescriptorDatabase(connection)
functions = {
    "getlockd.v1.Locks": {"Acquire", "Renew", "Release", "Status", "List", "Hold"},
    "NetLocker.NetLockerService": {"TryAndLock", "Unlock"},
    "sharelock.ShareLockService": {"Ping", "Lock", "Unlock"},
    "grpc.health.v1.Health": {"Check", "Watch"},
}
assert set(functions) <= set(known.get_services()), known.get_services()
for name, wanted in functions.items():
    file = known.FindFileContainingSymbol(name)
    [service] = [service for service in file.service if f"{file.package}.{service.name}" == name]
    # The health service has grown a function in later versions.
    assert wanted <= {method.name for method in service.method}, name

health = health_pb2_grpc.HealthStub(connection)


def is_serving(service):
    status = health.Check(health_pb2.HealthCheckRequest(service=service)).status
    return status == health_pb2.HealthCheckResponse.SERVING


assert is_serving("") and is_serving("getlockd.v1.Locks")
assert refused("NOT_FOUND", is_serving, "no.such.Service")
refused("UNIMPLEMENTED", connection.unary_unary("/getlockd.v1.Locks/NoSuchFunction"), b"")
refused("UNIMPLEMENTED", connection.unary_unary("/no.such.Service/NoSuchFunction"), b"")
