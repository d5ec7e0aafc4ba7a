# frozen_string_literal: true

# The steps of ../steps.md, in its order: steps.rb LINE_PORT HTTP_PORT
require "getlock"
require "rbconfig"
require_relative "scene"
require_relative "clusters"
require_relative "endings"
require_relative "deadlines"
require_relative "introductions"
require_relative "oddities"

$stdout.sync = true

class Steps
  include Scene
  include Clusters
  include Endings
  include Deadlines
  include Introductions
  include Oddities

  ORDER = %w[
    acquire try-lock nothing-is-no-block not-granted body-needs-the-lock decorator-needs-the-lock body-result shared
    refused server-away killed-waiting interrupted-waiting introduced lost-in-the-body lost-and-raised
    release-after-loss guard-as-block ended-while-waiting ended-as-granted ended-while-holding fork-leaves fork-exits fork-outlives
    close-on-exec forever wrong-timeouts wrong-arguments told-in-time held-in-time open-to-the-end late-grant
    questions-in-a-wait several-addresses parked told-in-a-cluster old-leader
    waits-for-the-next lease-addresses
    lease lease-not-granted lease-lost lease-in-time
    lease-introduced lease-asked-again
  ].freeze
  DO_NOT_APPLY = { "decorator-needs-the-lock" => "a block does this" }.freeze

  def initialize(line_port, http_port)
    @line_port = line_port
    @locks = GetLock.new("127.0.0.1", line_port)
    @http_port = Integer(http_port)
    @leases = GetLock::Leases.new("http://127.0.0.1:#{http_port}")
    @other, @eye = Array.new(2) { Peer.new(line_port) }
  end

  # True if all went well.
  def run = ORDER.map { |step| one(step) }.all?

  private

  def one(step)
    return puts("skip #{step}: #{DO_NOT_APPLY[step]}") || true if DO_NOT_APPLY[step]

    Timeout.timeout(6 * PATIENCE) { send(step.tr("-", "_"), step) }
    puts "ok #{step}"
    true
  rescue StandardError => e
    puts "not ok #{step}: #{e.class}: #{e.message} (#{e.backtrace.grep(/#{__dir__}/).first(3).join(", ")})"
  end

  def acquire(name)
    first = @locks.acquire(name)
    check first.held?, "it is held"
    equal @eye.ask("IS_USED_LOCK #{name}"), first.session.to_s, "the owner"
    equal first.release, true, "release"
    check @eye.free?(name), "it is free"
    second = @locks.acquire(name)
    check second.fencing_token > first.fencing_token, "the token is greater"
    equal second.release, true, "release"
  end

  def try_lock(name)
    @other.take(name)
    since = Scene.now
    equal @locks.try_lock(name), nil, "what is held"
    check Scene.now - since < 2, "at once"
    @other.free(name)
    equal @locks.try_lock(name)&.release, true, "what is free"
  end

  def nothing_is_no_block(name)
    @other.take(name)
    has_run = false
    error_of(NoMethodError) { @locks.try_lock(name).use { has_run = true } }
    error_of(ArgumentError) { @locks.try_lock(name) { has_run = true } }
    error_of(ArgumentError) { @locks.acquire(name, timeout: 0) { has_run = true } }
    check !has_run, "the body must not run"
  end

  def not_granted(name)
    @other.take(name)
    [0, 0.2].each do |timeout|
      since = Scene.now
      error = error_of(Timeout::Error) { @locks.acquire(name, timeout: timeout) }
      equal error.class, GetLock::NotGranted, "the error"
      check (timeout..timeout + 2).cover?(Scene.now - since), "in time"
    end
  end

  def body_needs_the_lock(name)
    @other.take(name)
    has_run = false
    [0, 0.2].each do |timeout|
      error_of(GetLock::NotGranted) { @locks.lock(name, timeout: timeout) { has_run = true } }
    end
    check !has_run, "the body must not run"
  end

  def body_result(name)
    equal @locks.lock(name) { |guard| guard.name }, name, "the result"
    check @eye.free?(name), "it is free after a result"
    equal error_of(KeyError) { @locks.lock(name) { {}.fetch(:own) } }.cause, nil, "the cause of the body's error"
    check @eye.free?(name), "it is free after an error"
    equal @locks.lock(name) { break 1 }, 1, "what the body leaves with"
    equal catch(:thrown) { @locks.lock(name) { throw :thrown, 3 } }, 3, "what the body throws"
    check @eye.free?(name), "it is free after a jump"
  end

  def shared(name)
    @locks.lock(name, shared: true) do
      @locks.lock(name, timeout: 0, shared: true) { equal @locks.try_lock(name), nil, "exclusive beside two" }
      equal @locks.try_lock(name), nil, "exclusive beside one"
    end
    equal @locks.try_lock(name)&.release, true, "exclusive alone"
  end

  def refused(step)
    has_run = false
    ["", "n" * 65].each do |name|
      equal error_of(GetLock::Refused) { @locks.lock(name) { has_run = true } }.symbol, "BAD_NAME", "the symbol"
      equal error_of(GetLock::Refused) { @locks.acquire(name) }.symbol, "BAD_NAME", "the symbol"
    end
    check !has_run, "the body must not run"
    odd_answers(step)
  end

  def server_away(name)
    gone = Deaf.new.tap(&:close).port
    has_run = false
    since = Scene.now
    locks = GetLock.new("127.0.0.1", gone, retry: 0.5)
    error = error_of(StandardError) { locks.lock(name) { has_run = true } }
    equal error.class, Errno::ECONNREFUSED, "the error"
    check GetLock::BROKEN.any? { |kind| error.is_a?(kind) }, "it is among BROKEN"
    check (0.1..5).cover?(Scene.now - since), "it is tried for `retry`"
    check !has_run, "the body must not run"
  end

  def killed_waiting(name) = ended_by_the_server(name, "KILL", "KILLED")

  def interrupted_waiting(name) = ended_by_the_server(name, "KILL QUERY", "INTERRUPTED")

  def ended_by_the_server(name, verb, symbol)
    @other.take(name)
    has_run = false
    waiting = quietly { @locks.lock(name) { has_run = true } }
    session, = eventually("it waits") { @eye.waiters(name).then { |ids| ids unless ids.empty? } }
    equal @eye.ask("#{verb} #{session}"), "1", verb
    error = error_of(GetLock::Refused) { waiting.value }
    equal [error.class, error.symbol], [GetLock::Refused, symbol], "the error"
    check !has_run, "the body must not run"
    equal @eye.waiters(name), [], "those who wait"
  end

  # Kills the holder, and waits until it was told.
  def lose(guard)
    check !guard.lost? && !guard.why, "it is not lost yet"
    equal @eye.ask("KILL #{guard.session}"), "1", "KILL"
    check guard.lost.wait(PATIENCE), "it is told"
  end

  def lost_in_the_body(name)
    told = Queue.new
    error = error_of(GetLock::Lost) do
      @locks.lock(name) do |guard|
        guard.on_lost { |lost| told << lost }
        lose(guard)
        equal [guard.held?, guard.lost?, guard.why.symbol], [false, true, "KILLED"], "held?, lost? and why"
        guard.on_lost { |lost| told << lost }
      end
    end
    equal error.symbol, "KILLED", "the symbol"
    2.times { check told.pop.equal?(error), "on_lost is told the error" }
    check @eye.free?(name), "it is free"
    odd_words(name)
  end

  def lost_and_raised(name)
    own = error_of(KeyError) { @locks.lock(name) { |guard| lose(guard) || {}.fetch(:own) } }
    equal [own.cause.class, own.cause.symbol], [GetLock::Lost, "KILLED"], "the cause"
    own = error_of(KeyError) do
      @locks.lock(name) do |guard|
        lose(guard)
        raise IOError, "first"
      rescue IOError
        {}.fetch(:second)
      end
    end
    equal [own.cause.class, own.cause.cause.class], [IOError, GetLock::Lost], "the causes"
    lost = error_of(GetLock::Lost) { @locks.lock(name) { |guard| lose(guard) || raise(guard.why) } }
    equal lost.cause, nil, "the cause of the loss that the body raised itself"
    error_of(GetLock::Lost) { @locks.lock(name) { |guard| lose(guard) || break } }
  end

  def release_after_loss(name)
    guard = @locks.acquire(name)
    lose(guard)
    equal [guard.release, guard.release], [false, false], "release"
    equal guard.why.symbol, "KILLED", "why"
    untold = @locks.acquire(name)
    equal @eye.ask("KILL #{untold.session}"), "1", "KILL"
    equal untold.release, false, "release of what was lost just now"
    drained(name)
  end

  def guard_as_block(name)
    equal @locks.acquire(name).use { |guard| guard.name }, name, "the result"
    check @eye.free?(name), "it is free"
    error_of(KeyError) { @locks.acquire(name).use { {}.fetch(:own) } }
    check @eye.free?(name), "it is free after an error"
    equal error_of(GetLock::Lost) { @locks.acquire(name).use { |guard| lose(guard) } }.symbol, "KILLED", "the symbol"
    @locks.acquire(name).use { |guard| equal guard.release, true, "release inside" }
  end

  def forever(name)
    [nil, Float::INFINITY, -1, -0.5, 1e300, 10**400, Rational(10**20)].each do |timeout|
      @other.take(name)
      waiting = quietly { @locks.lock(name, timeout: timeout) { :done } }
      eventually("it waits") { @eye.waiters(name).size == 1 }
      @other.free(name)
      equal waiting.value, :done, "with #{timeout.inspect} it"
    end
    equal @locks.lock(name) { :done }, :done, "without a timeout it"
  end

  def wrong_timeouts(name)
    without_a_visit do |locks|
      has_run = false
      error_of(ArgumentError) { locks.acquire(name, timeout: Float::NAN) }
      ["10", :x, true, false, [1], Complex(1, 1), Object.new].each do |timeout|
        error_of(TypeError) { locks.acquire(name, timeout: timeout) }
        error_of(TypeError) { locks.lock(name, timeout: timeout) { has_run = true } }
      end
      check !has_run, "the body must not run"
    end
  end

  def wrong_arguments(name)
    without_a_visit do |locks|
      error_of(ArgumentError) { locks.acquire(10, name) }
      error_of(ArgumentError) { locks.acquire(name, 10) }
      error_of(ArgumentError) { locks.lock(name) }
      error_of(ArgumentError) { locks.acquire("\xff") }
      [10, nil, :nightly, [name]].each { |wrong| error_of(TypeError) { locks.acquire(wrong, timeout: 1) } }
      error_of(TypeError) { locks.acquire(name, shared: "no") }
    end
    error_of(TypeError) { GetLock.new({ host: "127.0.0.1" }) }
    error_of(TypeError) { GetLock.new("127.0.0.1", "3305") }
    error_of(TypeError) { GetLock.new(stop_within: "1") }
    error_of(TypeError) { GetLock.new(tls: true) }
    error_of(ArgumentError) { GetLock.new(retry: -1) }
    error_of(ArgumentError) { GetLock::Leases.new(retry: -1) }
  end

  def without_a_visit
    stub = Deaf.new
    yield GetLock.new("127.0.0.1", stub.port)
    check !stub.visited?, "a connection was made"
  ensure
    stub&.close
  end
end

exit Steps.new(Integer(ARGV[0]), Integer(ARGV[1])).run
