# frozen_string_literal: true

# The steps in which somebody else ends what runs: Timeout, Thread#kill, Thread#raise, signals; and the processes that
# are started while a lock is held.
module Endings
  class Outside < StandardError; end

  # What ends a thread, by name.
  ENDINGS = {
    "kill" => ->(thread) { thread.kill },
    "raise" => ->(thread) { thread.raise(Outside, "ended from outside") },
    "raise and kill" => ->(thread) { [thread.raise(Outside), thread.kill] },
    "raise twice" => ->(thread) { 2.times { thread.raise(Outside) if thread.alive? } }
  }.freeze

  private

  def ended_while_waiting(name)
    ENDINGS.each_value do |ending|
      still_held(name) do
        waiting = quietly { @locks.lock(name) { raise Scene::Wrong, "the body has run" } }
        eventually("it waits") { @eye.waiters(name).size == 1 }
        ending.call(waiting)
        ended(waiting)
      end
    end
    still_held(name) { error_of(Timeout::Error) { Timeout.timeout(0.1) { @locks.lock(name) { nil } } } }
    still_held(name) { error_of(Timeout::Error) { Timeout.timeout(0.1) { @locks.acquire(name) } } }
    still_held(name) { interrupted(name) }
    [IOError, Errno::ETIMEDOUT, Errno::ECONNRESET].each { |kind| still_held(name) { handled(name, kind) } }
  end

  # Nobody waits after the block, though the holder has not left; and then it is free.
  def still_held(name)
    @other.take(name)
    yield
    eventually("it has left the queue") { @eye.waiters(name).empty? }
    @other.free(name)
    check @eye.free?(name), "it is free"
  end

  # A signal reaches the main thread, whatever it does; also if the process that started this ignores it.
  def interrupted(name)
    trap("INT", "DEFAULT")
    quietly do
      eventually("it waits") { @eye.waiters(name).size == 1 }
      Process.kill(:INT, Process.pid)
    end
    @locks.lock(name) { raise Scene::Wrong, "the body has run" }
  rescue Interrupt
    nil
  end

  # What a handler raises is no broken connection, though it may look like one.
  def handled(name, kind)
    before = trap("USR1") { raise kind, "by the handler" }
    quietly do
      eventually("it waits") { @eye.waiters(name).size == 1 }
      Process.kill(:USR1, Process.pid)
    end
    error = error_of(kind) { @locks.lock(name) { nil } }
    check error.message.include?("by the handler"), "#{error.inspect} is that of the handler"
  ensure
    trap("USR1", before)
  end

  # The error with which a thread has ended, if there is one.
  def ended(thread)
    check thread.join(Scene::PATIENCE), "the thread ends"
  rescue Outside, Timeout::Error
    nil
  end

  def ended_as_granted(name)
    20.times do |round|
      ENDINGS.each_value do |ending|
        @other.take(name)
        guard = nil
        scoped = round.even?
        waiting = quietly { scoped ? @locks.lock(name) { sleep(0.001) } : guard = @locks.acquire(name) }
        eventually("it waits") { @eye.waiters(name).size == 1 }
        @other.free(name)
        sleep(rand(0.0..0.001))
        ending.call(waiting)
        ended(waiting)
        guard&.release
        eventually("it is free") { @eye.free?(name) }
      end
    end
    equal @eye.waiters(name), [], "those who wait"
  end

  def ended_while_holding(name)
    ENDINGS.each_value do |ending|
      has_begun = false
      holding = quietly { @locks.lock(name) { (has_begun = true) && sleep } }
      eventually("the block runs") { has_begun }
      ending.call(holding)
      ended(holding)
      eventually("it is free") { @eye.free?(name) }
    end
    error_of(Timeout::Error) { Timeout.timeout(0.2) { @locks.lock(name) { sleep } } }
    check @eye.free?(name), "it is free"
  end

  def fork_leaves(name)
    forked_in_the_block(name) { |guard| check !guard.held?, "the child must not hold it" }
    forked_in_the_block(name) { |guard| equal guard.release, false, "release of the child" }
    forked_in_the_block(name) { |guard| equal [guard.lost?, guard.why], [false, nil], "lost? and why of the child" }
  end

  # Leaves the block of `lock` in a child too. The child says by its status whether all was as it should be.
  def forked_in_the_block(name)
    parent = Process.pid
    @locks.lock(name) do |guard|
      child = fork
      child ? undisturbed(guard, child) : yield(guard)
    end
  ensure
    exit!($! ? 1 : 0) if Process.pid != parent
  end

  def undisturbed(guard, child, way = "it left the block")
    _, status = Process.wait2(child)
    check status.success?, "#{way}: the child ended with #{status}" unless way == "kill"
    sleep(0.05) # for what the child may have sent
    check guard.held? && !@eye.free?(guard.name), "the parent still holds it"
    equal guard.release, true, "release"
  end

  def fork_exits(name)
    inherited = nil
    {
      "exit" => -> { exit },
      "exit in a block of the child" => -> { inherited.use { exit } },
      "exit!" => -> { exit!(0) },
      "the collector" => -> { GC.start },
      "a program" => -> { exec(RbConfig.ruby, "-e", "") },
      "kill" => -> { Process.kill(:KILL, Process.pid) }
    }.each do |way, work|
      @locks.lock(name) do |guard|
        inherited = guard
        undisturbed(guard, fork(&work), way)
      end
      check @eye.free?(name), "it is free after #{way}"
    end
  end

  def fork_outlives(name)
    outlives(name) { fork { sleep } }
  end

  def close_on_exec(name)
    outlives(name) { spawn(RbConfig.ruby, "-e", "sleep") }
  end

  # A process takes the lock, starts what the block starts, and is killed.
  def outlives(name)
    said, says = IO.pipe
    holder = fork { @locks.lock(name) { says.puts(yield) || sleep } }
    survivor = Integer(said.gets)
    check !@eye.free?(name), "it is held"
    Process.kill(:KILL, holder)
    Process.wait(holder)
    eventually("it is free") { @eye.free?(name) }
    equal Process.kill(0, survivor), 1, "the survivor"
  ensure
    Process.kill(:KILL, survivor) if survivor
  end
end
