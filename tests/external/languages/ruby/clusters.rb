# frozen_string_literal: true

# Clusters, played by stubs of their nodes.
module Clusters
  NO_LEADER = "ERROR UNAVAILABLE no leader\n"
  BODY = '{"success":false,"status":"Unavailable","message":"no leader"}'
  NO_LEADER_HTTP = "HTTP/1.1 503 No\r\nContent-Length: #{BODY.bytesize}\r\n\r\n#{BODY}".freeze

  private

  # Answers questions with these promises, the last of them again and again.
  def promising(*lefts, **options)
    Scene::LineStub.new(says: { "FENCING_TOKEN" => "5" }, **options) do |number|
      "KEEPALIVE #{lefts[[number, lefts.size].min - 1]}"
    end
  end

  def nowhere
    closed = TCPServer.new("127.0.0.1", 0)
    "127.0.0.1:#{closed.addr[1]}"
  ensure
    closed.close
  end

  def at(stub) = "127.0.0.1:#{stub.port}"

  def several_addresses(name)
    good = promising("left=25.000")
    equal GetLock.new("#{nowhere}, #{at(good)}").acquire(name, timeout: 0).release, true, "release"
    ["", NO_LEADER, "ERROR SHUTDOWN the server is stopping\n"].each do |words|
      other = Scene::Elsewhere.new(words)
      locks = GetLock.new(["127.0.0.1", at(good)], other.port, retry: 0)
      3.times { equal locks.acquire(name, timeout: 0).release, true, "release" }
      equal other.visits, 1, "how often another is asked than the last good one"
    end
    one, two = Array.new(2) { Scene::Elsewhere.new(NO_LEADER) }
    error = error_of(GetLock::Refused) { GetLock.new([at(one), at(two)]).acquire(name, timeout: 0) }
    equal [error.symbol, one.visits, two.visits], ["UNAVAILABLE", 1, 1], "the symbol and the visits"
    ["", "a:3305,", "a:99999", []].each { |wrong| error_of(ArgumentError) { GetLock.new(wrong) } }
  end

  def parked(name)
    node, other = promising("left=25.000", silence: 4), Scene::Elsewhere.new("")
    equal GetLock.new([at(node), at(other)]).acquire(name, timeout: 0).release, true, "release"
    equal other.visits, 0, "how often the other is asked"
  end

  def told_in_a_cluster(name)
    stub = promising("left=0.800 term=7", "left=1.000 term=7", "left=0.700 term=7")
    guard = GetLock.new(at(stub), stop_within: 0.2).acquire(name)
    eventually("questions") { stub.asked.size > 12 }
    check guard.held?, "it is held as long as it is answered"
    spans = stub.asked[3..].each_cons(2).map { |sooner, later| later - sooner }.sort
    check((0.1..0.18).cover?(spans[spans.size / 2]), "a question each #{spans[spans.size / 2]} s")
    equal guard.release, true, "release"

    silent = Scene::LineStub.new { |number| "KEEPALIVE left=1.000 term=7" if number <= 3 }
    guard = GetLock.new(at(silent), stop_within: 0.3).acquire(name)
    check guard.lost.wait(Scene::PATIENCE), "it is told"
    since = Scene.now - silent.asked.fetch(2)
    check since < 0.8, "it is told #{since} s after the third question"
    too_long = GetLock.new(at(promising("left=1.000 term=7")), stop_within: 0.31)
    check error_of(ArgumentError) { too_long.acquire(name) }.message.include?("--cluster-ttl"), "stop_within is refused"
  end

  def old_leader(name)
    stub = Scene::LineStub.new(says: { "FENCING_TOKEN" => "5" }) do
      "KEEPALIVE left=1.000 term=#{stub.asked.size < 3 ? 8 : 7}"
    end
    locks = GetLock.new(at(stub), retry: 0.2)
    guard = locks.acquire(name)
    check guard.lost.wait(Scene::PATIENCE), "it is told"
    equal [guard.held?, stub.asked.size], [false, 3], "held? and the questions"
    eventually("the connection is closed") { stub.closed.size == 1 }

    # All connections of a client know the highest term; this one is of a lower.
    error_of(IOError) { locks.acquire(name, timeout: 0) }

    stub = promising("left=1.000 term=8", "left=1.000 term=9")
    guard = GetLock.new(at(stub)).acquire(name)
    check guard.lost.wait(Scene::PATIENCE), "it is told"
    equal stub.asked.size, 2, "a connection is of one term: the questions"

    stub = promising("left=1.000 term=8", "left=0.000 term=8", delay: 1.2)
    error_of(IOError) { GetLock.new(at(stub), retry: 0).acquire(name, timeout: 0) }
    eventually("the connection is closed") { stub.closed.any? }
  end

  # The leader vanishes while a client waits: its questions find that out.
  def waits_for_the_next(name)
    old, following = promising("left=0.500 term=7", delay: 60), promising("left=1.000 term=8")
    since = Scene.now
    guard = GetLock.new([at(old), at(following)]).acquire(name, timeout: 30)
    check((0.8..5).cover?(Scene.now - since), "the next one serves after #{Scene.now - since} s")
    equal guard.release, true, "release"
  end

  def url(stub) = "http://#{at(stub)}"

  def lease_addresses(name)
    good = Scene::LeaseStub.new { true }
    leases = GetLock::Leases.new("http://#{nowhere},#{url(good)}", retry: 0)
    equal leases.acquire(name, timeout: 0).release, true, "release"
    ["", NO_LEADER_HTTP].each do |words|
      other = Scene::Elsewhere.new(words)
      leases = GetLock::Leases.new([url(other), url(good)])
      2.times { equal leases.acquire(name, timeout: 0).release, true, "release" }
      equal other.visits, 1, "how often the other is asked"
    end
    # The lease outlives the leader: the next node takes its heartbeats.
    first = Scene::LeaseStub.new { { success: false } }
    lease = GetLock::Leases.new([url(first), url(good)]).acquire(name, ttl: 1)
    eventually("heartbeats to the other") { good.beats.size > 4 }
    equal [lease.held?, first.beats.size, lease.release], [true, 1, true], "held?, heartbeats and release"
    old = Scene::LeaseStub.new(grant: { term: 8 }) { { term: 7 } }
    lease = GetLock::Leases.new(url(old)).acquire(name, ttl: 1)
    check lease.lost.wait(Scene::PATIENCE), "it is told"
    check old.beats.size > 1, "what an old leader acknowledges does not count"
  end
end
