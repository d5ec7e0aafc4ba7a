# frozen_string_literal: true

# The steps of what the lists show of a client, and of a request that is sent again.
module Introductions
  LONG = "n" * 257

  private

  def default_name = "@#{Socket.gethostname}[#{Process.pid}] steps.rb'"

  def introduced(name)
    named = GetLock.new("127.0.0.1", @line_port, name: "it's me", note: "nightly \\ backup")
    named.lock(name) do |guard|
      row = @eye.row(name)
      check row.include?(%q(client='it\'s me' note='nightly \\\\ backup')), row
      facts = "session=#{guard.session} fencing_token=#{guard.fencing_token} held=true"
      equal guard.inspect, "#<GetLock::Guard #{name.inspect} #{facts}>", "inspect"
    end
    row = @locks.lock(name) { @eye.row(name) }
    check row.include?(default_name) && !row.include?("note="), row
    row = GetLock.new("127.0.0.1", @line_port, name: "").lock(name) { @eye.row(name) }
    check !row.include?("client="), row
    [{ name: LONG }, { note: LONG }, { name: "", note: "none" }].each do |wrong|
      error_of(ArgumentError) { GetLock.new(**wrong) }
    end
    older = Scene::LineStub.new(says: { "INTRODUCE" => "ERROR UNKNOWN_COMMAND it is older", "FENCING" => "5" }) { 25.0 }
    equal GetLock.new("127.0.0.1", older.port).acquire(name).release, true, "at an older server"
  end

  def lease_introduced(name)
    url = "http://127.0.0.1:#{@http_port}"
    shown = lambda do |options, **each|
      GetLock::Leases.new(url, **options).lock(name, **each) { @eye.row(name) }
    end
    named = { name: "web-1", note: "backup" }
    check shown.(named).include?("client=web-1 note=backup"), "its own"
    check shown.(named, client: "web-2", note: "repair").include?("client=web-2 note=repair"), "those of the lease"
    check shown.({}).include?(default_name), "the default"
    check !shown.({ name: "" }).include?("client="), "none"
    [{ client: LONG }, { note: LONG }].each { |wrong| error_of(ArgumentError) { @leases.acquire(name, **wrong) } }
  end

  def lease_asked_again(name)
    proxy = Scene::LosingProxy.new(@http_port)
    behind = GetLock::Leases.new("http://127.0.0.1:#{proxy.port}")
    2.times do
      lease = behind.acquire(name, timeout: 0)
      check lease.held? && @eye.row(name), "it is held"
      equal lease.release, true, "release"
      check @eye.free?(name), "it is free"
    end
    ids = proxy.ids
    equal [ids.size, ids[0] == ids[1], ids[1] == ids[2]], [3, true, false], "the ids"
    check ids[0].match?(/\A[!-~]{16,64}\z/), ids[0]
  end
end
