# frozen_string_literal: true

# The steps about time, with stubs that stop to answer; and those of leases.
module Deadlines
  private

  def silent_after_three = Scene::LineStub.new { |number| 1.0 if number <= 3 }

  def told_in_time(name)
    stub = silent_after_three
    guard = GetLock.new("127.0.0.1", stub.port).acquire(name)
    check guard.lost.wait(Scene::PATIENCE), "it is told"
    since = Scene.now - stub.asked.fetch(2)
    check since < 1, "it is told #{since} s after the third question"
    check since > 0.3, "it is told too early, #{since} s after the third question"
    equal [guard.held?, guard.why.symbol, guard.release], [false, nil, false], "held?, why and release"
    eventually("the connection is closed") { stub.closed.size == 1 }
  end

  def held_in_time(name)
    stub = silent_after_three
    guard = GetLock.new("127.0.0.1", stub.port, stop_within: 0).acquire(name)
    eventually("the third question") { stub.asked[2] }
    check guard.held?, "it is held"
    sleep([stub.asked[2] + 1 - Scene.now, 0].max)
    equal guard.held?, false, "held?"
    too_long = GetLock.new("127.0.0.1", stub.port, stop_within: 0.8)
    check error_of(ArgumentError) { too_long.acquire(name) }.message.include?("0.8"), "stop_within is refused"
  end

  def open_to_the_end(name)
    [true, false].each do |stays|
      stub = silent_after_three
      error_of(GetLock::Lost) do
        GetLock.new("127.0.0.1", stub.port).lock(name) do |guard|
          check guard.lost.wait(Scene::PATIENCE), "it is told"
          check stub.closed.empty?, "it is open"
          eventually("the second has an end") { stub.closed.any? } if stays
        end
      end
      since = eventually("the connection is closed") { stub.closed.first } - stub.asked.fetch(2)
      check since > 0.8, "it is closed #{since} s after the third question" if stays
    end
  end

  # Each connection is answered one question.
  def late_grant(name)
    stub = Scene::LineStub.new(delay: 1.2) { |number| 1.0 if number == 1 }
    has_run = false
    locks = GetLock.new("127.0.0.1", stub.port)
    error = error_of(StandardError) { locks.lock(name, timeout: 1.5) { has_run = true } }
    check GetLock::BROKEN.any? { |kind| error.is_a?(kind) }, "#{error.inspect} is among BROKEN"
    check !has_run, "the body must not run"
    eventually("the connection is closed") { stub.closed.any? }
    stub = Scene::LineStub.new(delay: 1.2) { 1.0 }
    equal GetLock.new("127.0.0.1", stub.port).lock(name) { :done }, :done, "if it is asked again and answered"
  end

  def questions_in_a_wait(name)
    guard = GetLock.new("127.0.0.1", Scene::WaitingStub.new.port).acquire(name, timeout: 5)
    equal [guard.held?, guard.fencing_token, guard.session, guard.release], [true, 77, 7, true], "the guard"
  end

  def lease(name)
    lease = @leases.acquire(name, ttl: 1, client: "steps", note: "a note")
    until_then = Scene.now + 3
    while Scene.now < until_then
      check lease.held? && !@eye.free?(name), "it is held"
      sleep(0.1)
    end
    check lease.fencing_token.is_a?(Integer) && lease.lease_token.is_a?(String), "the tokens"
    equal [lease.release, lease.held?, lease.release], [true, false, true], "release and held?"
    check @eye.free?(name), "it is free"
    late = quietly { @leases.acquire(name, ttl: 1) } if @other.take(name)
    eventually("it waits") { @eye.waiters(name).size == 1 }
    sleep(0.5)
    @other.free(name)
    equal late.value.release, true, "what was granted late"
  end

  def lease_not_granted(name)
    @other.take(name)
    has_run = false
    equal @leases.try_lock(name), nil, "what is held"
    error_of(GetLock::NotGranted) { @leases.lock(name, timeout: 0.2) { has_run = true } }
    equal error_of(GetLock::Refused) { @leases.lock("") { has_run = true } }.symbol, "BadRequest", "the symbol"
    check !has_run, "the body must not run"
    error_of(Timeout::Error) { Timeout.timeout(0.3) { @leases.acquire(name) } }
    eventually("it has left the queue") { @eye.waiters(name).empty? }
    odd_grants(name)
  end

  def lease_lost(name)
    told = Queue.new
    error = error_of(GetLock::Lost) do
      @leases.lock(name, ttl: 1) do |lease|
        lease.on_lost { |lost| told << lost }
        equal @eye.ask("KILL #{@eye.ask("IS_USED_LOCK #{name}")}"), "1", "KILL"
        check lease.lost.wait(Scene::PATIENCE), "it is told"
        equal lease.held?, false, "held?"
      end
    end
    equal error.symbol, "NotFound", "the symbol"
    check told.pop.equal?(error), "on_lost is told the error"
    taken = @leases.acquire(name, ttl: 1)
    equal @eye.ask("KILL #{@eye.ask("IS_USED_LOCK #{name}")}"), "1", "KILL"
    @other.take(name)
    check taken.lost.wait(Scene::PATIENCE), "it is told"
    equal taken.why.symbol, "InvalidToken", "the symbol"
  end

  def lease_in_time(name)
    stub = Scene::LeaseStub.new { |number| number == 1 }
    lease = GetLock::Leases.new("http://127.0.0.1:#{stub.port}").acquire(name, ttl: 1)
    check lease.lost.wait(Scene::PATIENCE), "it is told"
    since = Scene.now - stub.beats.fetch(0)
    check (0.5..1).cover?(since), "it is told #{since} s after the heartbeat that was answered"
    equal [lease.held?, lease.why.symbol, lease.release], [false, nil, false], "held?, why and release"
    odd_heartbeats(name)
  end
end
