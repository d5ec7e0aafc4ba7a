# frozen_string_literal: true

Gem::Specification.new do |spec|
  spec.name = "getlock"
  spec.version = File.read(File.join(__dir__, "lib", "getlock.rb"))[/VERSION = "(.+)"/, 1]
  spec.summary = "Client of getlockd, a lock server"
  spec.description = "Waits for locks of a getlockd server, keeps them, and says in time when one is lost."
  spec.authors = ["getlockd"]
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.1"
  spec.files = %w[README.md lib/getlock.rb lib/getlock/cluster.rb lib/getlock/identity.rb lib/getlock/leases.rb
                  lib/getlock/wire.rb sig/getlock.rbs sig/manifest.yaml]
end
