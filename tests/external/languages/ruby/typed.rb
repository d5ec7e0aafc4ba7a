# frozen_string_literal: true

# Uses all of the client, on stubs, while rbs looks at what is given and what comes back.
require "getlock"
require_relative "scene"

def both(guard)
  guard.on_lost { |lost| lost.symbol }
  guard.lost.wait(0.01) || guard.lost.set? || guard.lost?
  [guard.name, guard.fencing_token, guard.held?, guard.why]
  guard.inspect
end

stub = Scene::LineStub.new { |number| 1.0 if number < 3 }
locks = GetLock.new("127.0.0.1", stub.port, user: "web", password: "secret", tls: nil, retry: 1, stop_within: 0.2,
                    name: "web-1", note: "backup")
locks.lock("nightly", timeout: 1) { |guard| both(guard) && guard.session }
locks.acquire("nightly", timeout: Rational(1, 2), shared: true).use { |guard| both(guard) }
locks.try_lock("nightly", shared: false)&.release
guard = locks.acquire("nightly", timeout: nil)
guard.lost.wait
raise "it is lost" if guard.why.nil? || guard.release

site = Scene::LeaseStub.new { |number| number < 2 }
leases = GetLock::Leases.new("http://127.0.0.1:#{site.port}", token: "5e", retry: 1, stop_within: 0.1, name: "")
leases.lock("nightly", timeout: 1, ttl: 5, client: "web-1", note: "backup") { |lease| both(lease) && lease.lease_token }
leases.try_lock("nightly", ttl: 5)&.release
lease = leases.acquire("nightly", ttl: 0.3, shared: true)
lease.lost.wait
raise "it is lost" if lease.why.nil? || lease.release
