use strict;
exit 77 unless eval { require DBIx::Class::Schema; require DBD::mysql; 1 };
require "../../drivers/steps.pl";
@Locks::ISA = "DBIx::Class::Schema";
my $storage = Locks->connect("dbi:mysql:host=127.0.0.1;port=$ARGV[0];database=test", "root", $ENV{PASSWORD},
    { mysql_enable_utf8mb4 => 1, on_connect_call => "set_strict_mode" })->storage;
die "there are tables" if $storage->dbh->tables(undef, undef, "%", "TABLE");
die ref $storage unless ref $storage eq "DBIx::Class::Storage::DBI::mysql";
$storage->txn_do(sub { $storage->with_deferred_fk_checks(sub { 1 }) });
steps(sub {
    my ($sql, @args) = @_;
    return $storage->dbh_do(sub { ($_[1]->selectrow_array($sql, undef, @args))[0] });
});
