# frozen_string_literal: true

require "json"
require "securerandom"
require "uri"
require_relative "../getlock"

class GetLock
  # Locks that hold no connection: leases, over HTTP, kept by heartbeats.
  #
  #   leases = GetLock::Leases.new("http://127.0.0.1:3308")
  #   leases.lock("nightly", timeout: 10, ttl: 30) do |lease|
  #     write(row, lease.fencing_token) if lease.held?
  #   end
  #
  # A thread sends heartbeats. The lease is lost `stop_within` seconds (a fifth of `ttl` by default) before
  # its time is over, counted from the moment in which the last acknowledged heartbeat was sent. A process that is
  # killed keeps the lock until that time is over.
  class Leases
    # `url` has one base URL or, for the nodes of a cluster, several: with commas between them, or an Array.
    #
    # `user` and `password`, or a `token`, say who you are. `tls` is an OpenSSL::SSL::SSLContext for https; by default
    # it is one that trusts what the system trusts.
    #
    # `retry`, `name` and `note` are those of GetLock. A request whose answer was lost is sent again with the same id:
    # it gets the lease that was granted, or its place in the queue.
    def initialize(url = "http://127.0.0.1:3308", user: nil, password: "", token: nil, tls: nil, retry: 30,
                   stop_within: nil, name: nil, note: nil)
      @site = site(url, tls)
      @identity = Identity.new(name, note)
      @site.authorization = authorization(user, password, token)
      @retry_for = Check.span(binding.local_variable_get(:retry), "retry")
      @stop_within = Check.stop_within(stop_within)
    end

    # As GetLock#lock. The lease runs for `ttl` seconds after each heartbeat. `client` and
    # `note` are in place of the name and the note of this object.
    def lock(name, timeout: nil, ttl: 45, shared: false, client: nil, note: nil, &block)
      raise ArgumentError, "lock needs a block; without one, use acquire" unless block

      wait(name, timeout, ttl, shared, client, note).use(&block)
    end

    # As GetLock#acquire.
    def acquire(name, timeout: nil, ttl: 45, shared: false, client: nil, note: nil)
      raise ArgumentError, "acquire takes no block; use lock" if block_given?

      wait(name, timeout, ttl, shared, client, note).guard
    end

    # As GetLock#try_lock.
    def try_lock(name, ttl: 45, shared: false, client: nil, note: nil)
      raise ArgumentError, "try_lock takes no block; use lock with timeout: 0" if block_given?

      wait(name, 0, ttl, shared, client, note).guard
    rescue NotGranted
      nil
    end

    # Shows no password.
    def inspect = "#<#{self.class} #{@site.inspect}>"

    private

    def site(url, tls)
      uris = Check.parts(url, "url").map { |text| uri(text) }
      raise ArgumentError, "all urls begin with https, or none" if uris.map(&:scheme).uniq.size > 1

      is_secure = uris.first.scheme == "https"
      raise ArgumentError, "tls needs an https url" if tls && !is_secure

      tls = Check.tls(tls) || OpenSSL::SSL::SSLContext.new.tap(&:set_params) if is_secure
      Site.new(Cluster.new(uris), tls)
    end

    def uri(text)
      uri = URI.parse(text)
      return uri if uri.is_a?(URI::HTTP) && uri.host && !uri.userinfo && !uri.query

      raise ArgumentError, "url must be like http://127.0.0.1:3308, without user and password"
    rescue URI::InvalidURIError
      raise ArgumentError, "url must be like http://127.0.0.1:3308"
    end

    def authorization(user, password, token)
      raise ArgumentError, "give a user or a token, not both" if user && token

      login = [user && Check.text(user, "user"), Check.text(password, "password")]
      return "Basic #{[login.join(":")].pack("m0")}" if user
      return unless token
      raise ArgumentError, "token has characters that no token has" unless
        Check.text(token, "token").match?(/\A[!-~]+\z/)

      "Bearer #{token}"
    end

    def wait(name, timeout, ttl, shared, client, note)
      wish = {
        resourceName: Check.text(name, "name"),
        mode: Check.flag(shared, "shared") ? "shared" : "exclusive",
        clientId: Identity.check(client, "client") || @identity.name,
        note: Identity.check(note, "note") || @identity.note,
        requestId: SecureRandom.uuid # as secret as the token of the lease
      }.compact
      LeaseWait.new(@site, wish, Check.seconds(timeout, "timeout"), @retry_for, *terms(ttl))
    end

    # The time to live, and how long before its end the lease counts as lost.
    def terms(ttl)
      Check.number(ttl, "ttl must be a number of seconds")
      raise ArgumentError, "ttl must be more than 0 s, and finite" unless ttl.positive? && ttl < Check::FOREVER

      stop_within = @stop_within || (ttl / 5.0)
      return ttl.to_f, stop_within if stop_within < ttl * 2 / 3.0

      raise ArgumentError, "stop_within is #{stop_within} s, and a lease of #{ttl} s would be lost before its first " \
                           "heartbeat; choose less than two thirds of ttl"
    end
  end

  # A lease that runs. `lease_token` is its secret.
  class Lease < Hold
    attr_reader :lease_token

    # The longest pause between two heartbeats of which the first was not answered, and the time in which a machine
    # that was suspended finds out.
    LONGEST_REST = 1
    # What the server answers to a lease that has ended. All else may pass.
    GONE = %w[NotFound InvalidToken].freeze
    private_constant :LONGEST_REST, :GONE

    def initialize(site, uri, name, ttl, stop_within, granted)
      super(name, granted.fencing_token)
      @site, @uri, @ttl, @stop_within = site, uri, ttl, stop_within
      @lease_token = granted.lease_token
      @failures = 0
      @over = Event.new
      count_from(granted.since)
      Background.run(name) { keep }
    end

    private

    def count_from(since)
      @stop_at = since + @ttl - @stop_within
      @beat_at = since + (@ttl / 3)
    end

    def check
      raise Refused.new(nil, "no heartbeat was answered in time; take the lock again") if Clock.now >= @stop_at
    end

    def beat = [[@beat_at, @stop_at].min - Clock.now, 0].max

    # Without the mutex: held? and release do not wait for a heartbeat.
    def rest(pause)
      heartbeat unless @over.wait([pause, LONGEST_REST].min) || Clock.now < @beat_at
    end

    def heartbeat
      since = Clock.now
      @site.call("heartbeat", @uri, resourceName: @name, lockToken: @lease_token, ttlMs: (@ttl * 1000).ceil,
                                    by: [deadline, since + share].min)
      @failures = 0
      @mutex.synchronize { count_from(since) if current? } # an answer that comes too late does not revive it
    rescue Refused, Broken => e
      is_gone = e.is_a?(Refused) && GONE.include?(e.symbol)
      return @mutex.synchronize { lose_by(e) unless over? } if is_gone

      move_on
      @beat_at = Clock.now + [LONGEST_REST, 0.05 * (2**@failures)].min
      @failures += 1
    end

    def deadline = [@stop_at, Clock.now + ANSWER_TIME].min

    # Of several addresses there is time for another one.
    def share = @site.cluster.several? ? @ttl / 4 : @ttl

    # The next request goes to the next address.
    def move_on
      @uri = @site.cluster.after(@uri)
    end

    def drop = @over.set

    def free
      return false unless @mutex.synchronize { current? && (@ended = true) }

      @over.set
      is_released = give_back(deadline)
    rescue Refused, Broken => e
      @mutex.synchronize { lose_by(e) }
    ensure
      finish_in_background unless is_released || @why
    end

    # The release was interrupted before the server had answered, and the lease would run on.
    def finish_in_background
      @why = interrupted
      Background.run("gives back #{@name}") do
        give_back(deadline)
      rescue Refused, *BROKEN
        nil # its time ends it
      end
    rescue ThreadError
      nil # the process ends
    end

    def give_back(deadline)
      @site.call("release", @uri, resourceName: @name, lockToken: @lease_token, by: deadline)
      true
    rescue Broken
      raise if Clock.now + 0.1 > deadline

      move_on
      sleep(0.1)
      retry
    end
  end

  class LeaseWait < Wait
    Granted = Struct.new(:fencing_token, :lease_token, :since)

    def initialize(site, wish, timeout, retry_for, ttl, stop_within)
      super(site.cluster, wish[:resourceName], timeout, retry_for)
      @site, @wish, @ttl, @stop_within = site, wish, ttl, stop_within
    end

    private

    # One request waits for the whole time. The server knows it by its id if it is sent again.
    def try(left)
      since = Clock.now
      @exchange = Exchange.new(@site, @address)
      @exchange.post("acquire", @wish.merge(ttlMs: (@ttl * 1000).ceil, waitMs: left ? (left * 1000).ceil : -1))
      answer = answer_within(left)
      return if answer["status"] == "Busy"

      raise Exchange.refusal(answer) unless answer["status"] == "Acquired" && answer["success"]
      raise Failure, "a lease was granted without its tokens" unless
        answer["fencingToken"].is_a?(Integer) && answer["lockToken"].is_a?(String)

      @cluster.served(@address)
      @lease = Lease.new(@site, @address, @name, @ttl, @stop_within, confirmed(answer, since))
    end

    # Notes whether the answer was lost. One that did not come in time is none that another try would bring.
    def answer_within(left)
      since = Clock.now
      deadline = left ? since + left + PARKED_TIME : Float::INFINITY
      answer = @exchange.answer(deadline)
      @is_reached = true
      answer
    ensure
      @is_lost = answer.nil? && Clock.now < deadline
      @is_reached ||= @is_lost && Clock.now - since > ANSWER_TIME
    end

    # What was sent may have been granted: that is asked for also when the timeout is over.
    def deadline_after(_error)
      @is_lost ? Float::INFINITY : super
    ensure
      @is_lost = false
    end

    # The next try gets what this one has got: nothing is given back.
    def clear = @exchange&.close

    # When the server answered is unknown. If that can have been long ago, a heartbeat starts the time again.
    def confirmed(answer, since)
      granted = Granted.new(answer["fencingToken"], answer["lockToken"], since)
      return granted if Clock.now - since < @ttl / 5

      granted.since = Clock.now
      @site.call("heartbeat", @address, resourceName: @name, lockToken: granted.lease_token, ttlMs: (@ttl * 1000).ceil,
                                        by: Clock.now + [@ttl - @stop_within, ANSWER_TIME].min)
      granted
    rescue Refused => e
      raise Failure, "the lease has ended before it could be confirmed: #{e.message}"
    end

    # Nothing is held if the lease was released. Else its grant may be on its way: what comes is given back.
    def withdraw
      Thread.handle_interrupt(NEVER) do
        lease, exchange, @lease, @exchange = @lease, @exchange, nil, nil
        if lease
          Background.run("gives back #{@name}") { lease.release } if lease.held?
        elsif exchange&.may_be_granted?
          exchange.hang_up
          Background.run("gives back #{@name}") { give_back(exchange) }
        else
          exchange&.close
        end
      end
    end

    def give_back(exchange)
      token = exchange.answer(Clock.now + ANSWER_TIME)["lockToken"] or return
      @site.call("release", exchange.uri, resourceName: @name, lockToken: token, by: Clock.now + ANSWER_TIME)
    rescue Refused, *BROKEN
      nil # nothing was granted, or its time ends it
    ensure
      exchange.close
    end
  end

  # Where the requests go.
  Site = Struct.new(:cluster, :tls, :authorization) do
    # A request that does not wait. Returns the answer, or raises Refused.
    def call(action, uri, by:, **body)
      exchange = Exchange.new(self, uri)
      exchange.post(action, body, by)
      answer = exchange.answer(by)
      answer["success"] ? answer : raise(Exchange.refusal(answer))
    ensure
      exchange&.close
    end

    # A lease outlives the leader, so its own time bounds it. But what an old leader says does not count.
    def check(answer)
      term = answer["term"]
      raise Failure, Cluster::OUTDATED unless !term.is_a?(Integer) || cluster.takes?(term)

      answer
    end

    def inspect = cluster.inspect # without the password
  end

  # One request over HTTP and its answer, on a connection of its own. Net::HTTP cannot stop to send and go on to read.
  class Exchange
    # The server's word for what is wrong, or the number of HTTP if somebody else answered.
    def self.refusal(answer)
      Refused.new(answer["status"], answer["message"] || "the answer is no JSON of getlockd: #{answer["status"]}")
    end

    attr_reader :uri

    def initialize(site, uri)
      @site, @uri = site, uri
      @wire = Wire.new
      @is_posted = false
    end

    def post(action, body, deadline = Clock.now + PARKED_TIME)
      text = JSON.generate(body)
      @wire.open(uri.hostname, uri.port, @site.tls, deadline, @site.cluster.connect_time)
      @is_posted = true
      @wire.write([
        "POST #{uri.path.chomp("/")}/api/lock/#{action} HTTP/1.1", "Host: #{uri.host}:#{uri.port}",
        *(@site.authorization && "Authorization: #{@site.authorization}"), "Content-Type: application/json",
        "Content-Length: #{text.bytesize}", "Connection: close", "", text
      ].join("\r\n"))
    end

    # The JSON of the answer. It stays known.
    def answer(deadline)
      @answer ||= @site.check(read(deadline)).tap { close }
    end

    def may_be_granted? = @is_posted && (@answer.nil? || @answer.key?("lockToken"))

    def close = @wire.close

    # The server sees the end of the requests, and forgets one that waits.
    def hang_up = @wire.shut_down(:WR)

    private

    def read(deadline)
      raw = @wire.read_all(deadline) { |bytes| complete?(bytes) }
      head, body = raw.split("\r\n\r\n", 2)
      code = head.to_s[%r{\AHTTP/1\.\d (\d{3})}, 1]
      raise Failure, "the answer is no HTTP: check the port" unless code || raw.empty?
      raise Failure, "the answer was cut off" unless complete?(raw)

      parse(code, chunked?(head) ? joined(body) : body)
    end

    def parse(code, body)
      answer = JSON.parse(body.force_encoding(Encoding::UTF_8))
      answer.is_a?(Hash) ? answer : { "status" => code }
    rescue JSON::ParserError
      raise Failure, "a proxy answered #{code}" if code.start_with?("5")

      { "status" => code }
    end

    def complete?(bytes)
      ending = bytes.index("\r\n\r\n") or return false
      head = bytes.byteslice(0, ending)
      return bytes.end_with?("\r\n0\r\n\r\n") if chunked?(head)

      length = head[/^content-length: *(\d+)/i, 1] or return false
      bytes.bytesize >= ending + 4 + length.to_i
    end

    def chunked?(head) = head.match?(/^transfer-encoding: *chunked/i)

    def joined(chunks)
      body = String.new
      while (size = chunks.slice!(/\A\h+[^\r]*\r\n/)&.hex)&.positive?
        raise Failure, "a chunk of the answer is too short" if size > chunks.bytesize

        body << chunks.slice!(0, size)
        chunks.delete_prefix!("\r\n")
      end
      body
    end
  end

  private_constant :LeaseWait, :Site, :Exchange
end
