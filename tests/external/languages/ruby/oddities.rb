# frozen_string_literal: true

# What no getlockd says: nothing is granted by it, and what is held is lost.
module Oddities
  private

  # A lock that is wanted is tried for again, and no block runs.
  def odd_answers(name)
    odd = [{ "FENCING_TOKEN" => "NULL" }, { "GET_LOCK" => "NULL" }, { "GET_LOCK" => "no" }]
    odd += ["-5", "", "nan", "1e3", "5 more", "9" * 400].map { |left| { "KEEPALIVE" => "KEEPALIVE left=#{left}" } }
    odd.each do |says|
      stub = Scene::LineStub.new(says: says) { 5.0 }
      error = error_of(IOError) { GetLock.new("127.0.0.1", stub.port).lock(name, timeout: 0.3) { raise Scene::Wrong } }
      check GetLock::BROKEN.any? { |kind| error.is_a?(kind) }, "#{error.inspect} is among BROKEN"
      check stub.closed.size > 1, "it is tried again after #{says}"
    end
    killed = Scene::LineStub.new(says: { "GET_LOCK" => "ERROR KILLED" }) { 5.0 }
    error = error_of(GetLock::Refused) { GetLock.new("127.0.0.1", killed.port).acquire(name) }
    equal error.symbol, "KILLED", "the symbol"
  end

  # A lock that is held is lost, before its time is over. Nobody can hold up `held?` by sending.
  def odd_words(name)
    flood = ->(socket) { loop { socket.write("x" * (1 << 20)) } }
    lines = ->(socket) { loop { socket.write("KEEPALIVE left=25.000\n" * 1000) } }
    ["1\nERROR KILLED", "KEEPALIVE left=-5", flood, lines].each do |odd|
      stub = Scene::LineStub.new(says: { "FENCING_TOKEN" => "5" }) { |number| number > 1 ? odd : 2.5 }
      guard = GetLock.new("127.0.0.1", stub.port).acquire(name)
      while (before = Scene.now) && guard.held?
        check Scene.now - before < 0.3, "held? does not wait"
        sleep(0.01)
      end
      since = Scene.now - stub.asked.first
      check since < 1.3, "it is told #{since} s after the first question: #{guard.why.message}"
      equal guard.release, false, "release"
      eventually("the connection is closed") { stub.closed.any? }
    end
  end

  # The end of a release when the server stops: both lines come in one piece.
  def drained(name)
    ends = "1\nERROR SHUTDOWN the server is stopping"
    stub = Scene::LineStub.new(says: { "FENCING_TOKEN" => "5", "RELEASE_LOCK" => ends }) { 25.0 }
    50.times { equal GetLock.new("127.0.0.1", stub.port).acquire(name).release, true, "release" }
  end

  def odd_grants(name)
    [{ lockToken: nil }, { fencingToken: nil }, { fencingToken: "NULL" }].each do |grant|
      stub = Scene::LeaseStub.new(grant: grant)
      leases = GetLock::Leases.new("http://127.0.0.1:#{stub.port}", retry: 0)
      error_of(IOError) { leases.lock(name, timeout: 5) { raise Scene::Wrong } }
    end
  end

  # Heartbeats that are no success, or no HTTP, renew nothing.
  def odd_heartbeats(name)
    refusal = JSON.generate(success: false, status: "Unavailable")
    answers = ["Content-Length: #{refusal.bytesize}\r\n\r\n#{refusal}"]
    answers << "Transfer-Encoding: chunked\r\n\r\n#{"F" * 19}\r\nabc\r\n0\r\n\r\n"
    answers.each do |answer|
      stub = Scene::LeaseStub.new { "HTTP/1.1 200 OK\r\n#{answer}" }
      lease = GetLock::Leases.new("http://127.0.0.1:#{stub.port}").acquire(name, ttl: 1)
      check lease.lost.wait(Scene::PATIENCE), "it is told"
      check lease.why.message.include?("no heartbeat was answered"), lease.why.message
      check stub.beats.size > 1, "it is tried again"
    end
  end
end
